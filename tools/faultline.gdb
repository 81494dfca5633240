# faultline.gdb: gdb's settings for a program under `faultline run`.
#
#     gdb -x tools/faultline.gdb --args PROGRAM ARGS
#     (gdb) set exec-wrapper faultline run --memory 64M --
#     (gdb) run
#
# Page faults and system calls on mapped files are signals, which are the program's daily business: gdb passes them on
# and says nothing. What the program dies of stops in signals_die, with the place of the fault a few frames up: `bt`.

handle SIGBUS SIGSEGV SIGSYS nostop noprint pass
set breakpoint pending on
break signals_die

# gdb reads memory from outside, where a page that is not in memory is an error: "Cannot access memory". The program
# reads it itself.
define faultline-load
  if $argc != 2
    help faultline-load
  else
    call (int)memcmp((void *)($arg0), (void *)($arg0), (unsigned long)($arg1))
  end
end
document faultline-load
faultline-load ADDRESS LENGTH: brings mapped bytes into memory, so that gdb can print them. The program runs for it.
end
