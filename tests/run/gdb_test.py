"""debugged.c in gdb under Faultline, with tools/faultline.gdb: breakpoints, mapped bytes, and the place where
it dies.
"""

from harness import *

DEBUGGED = os.path.join(os.path.dirname(CALLS), "debugged")
SETTINGS = os.path.join(os.path.dirname(__file__), "../../tools/faultline.gdb")
PAGES = 3000
directory = scratch()
file = os.path.join(directory, "file")
write_pages(file, PAGES)


def debugged(*commands, arguments=()):
    given = [f"set exec-wrapper {FAULTLINE} run --memory 2M --fault signal --", *commands]
    argv = ["gdb", "-nx", "-batch", "-x", SETTINGS]
    for command in given:
        argv += ["-ex", command]
    return Run([*argv, "--args", DEBUGGED, file, *arguments])


if shutil.which("gdb") is None:
    print("skip  no gdb here")
    finish()
SHOW = "output *(const char (*)[8]) (map + {})"
ABSENT = f"{SHOW.format('last')}"
run = debugged(
    "break here", "run", "bt 1", SHOW.format("3 * 4096"), "faultline-load map+last 8", ABSENT, "continue"
)
text = run.out.decode(errors="replace")
check(run.status == 0 and "Breakpoint 2, here" in text, f"stops at a breakpoint: {run.status}")
check('"00000003"' in text, "shows what is in memory")
check(f'"{PAGES - 1:08}"' in text, "shows what the program loads")
check("total " in text and "exited normally" in text, "the program goes on")
check("SIG" not in text, "page faults are not told")
run = debugged("break here", "run", ABSENT)
check(b"Cannot access memory" in run.out + run.err, "says that a page is absent")
run = debugged("run", "bt", arguments=["die"])
text = run.out.decode(errors="replace")
check("signals_die" in text and "main (" in text, "stops where the program dies")
if "signals_die" not in text or "main (" not in text:
    print(text[-3000:], run.err.decode()[-1000:])
finish()
