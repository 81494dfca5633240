"""What runs on the kernel. A case is a shell script, which runs natively, too, with the same programs.

  script, in the folder work/ ─▶ its output, in out/NAME ─┐
                              └▶ files that it leaves    ─┴▶ equal, byte for byte, on both sides

{mib} in a script: the computer's memory in MiB. A case that works with four times the memory is `big`: with
more than BIG_MIB it works with less instead, because emulated processors are slow.
"""

import dataclasses

BIG_MIB, SMALL_MIB = 64, 16


@dataclasses.dataclass
class Case:
    """`native`: False, if the script makes no sense on the host. `linux`: False, if Debian's Linux fails it,
    too. `least_mib`: of memory, or the case does not run."""

    name: str
    script: str
    short: bool = False
    big: bool = False
    native: bool = True
    linux: bool = True
    seconds: float = 120
    least_mib: int = 0

    def text(self, memory_mib):
        mib = SMALL_MIB if self.big and memory_mib > BIG_MIB else memory_mib
        return self.script.format(mib=mib, twice=2 * mib, four=4 * mib)


SHELL = """
seq 1 3000 | sed 's/7/seven/g' | sort -r | uniq | wc
for i in 1 2 3 4 5; do echo $i; done | while read n; do echo $((n * n)); done | tr '\\n' ' '
echo
(echo a; echo b >&2) 2>&1 | sort
f() {{ local x=$1; [ $x -le 1 ] && echo 1 || echo $((x * $(f $((x - 1))))); }}
f 10
cat <<END | awk '{{ sum += $2 }} END {{ print sum }}'
one 1
two 2
three 3
END
mkdir -p shell.d/deep/er && cd shell.d
for i in $(seq 1 40); do echo $i > file.$i; done
ls | wc -l; cat file.* | sort -n | tail -n 1
mv file.1 deep/er/moved; ln file.2 hard; ln -s file.3 soft; rm file.4
cat deep/er/moved hard soft; find . -type f | sort
chmod 600 file.5; stat -c '%a %s' file.5
test -e file.4 || echo gone
(exit 3) || echo $?
true & wait $!; echo $?
yes | head -n 100000 | md5sum
"""

ARCHIVE = """
mkdir -p archive.d/in && cd archive.d
for i in 1 2 3 4 5 6 7 8; do seq $i 1 $((i * 4000)) > in/numbers.$i; done
tar cf all.tar --numeric-owner -C in $(ls in) && tar tf all.tar | sort
gzip -9 < all.tar > all.tar.gz
mkdir out && gunzip < all.tar.gz | tar xf - -C out
for f in in/*; do cmp $f out/${{f#in/}} || exit 1; done
md5sum in/* ; sha256sum out/*
rm all.tar all.tar.gz # they have the times of the files in them
"""

# busybox's sort holds all lines in memory, with much beside each: about six times the file.
SORT = """
awk 'BEGIN {{ s = 1; for (i = 0; i < {mib} * 10000; i++) {{ s = (s * 16807) % 2147483647; print s }} }}' > sort.in
sort -n sort.in > sort.out
wc -l < sort.out; md5sum sort.in sort.out
rm sort.in sort.out
"""

# How many operations a sequence has differs with what the kernel chose: the numbers are left out.
CONFORMANCE = """
FAULTLINE_ROUNDS={rounds} conformance > conformance.log || {{{{ cat conformance.log; exit 1; }}}}
rm conformance.log
"""

CASES = [
    Case("shell", SHELL, short=True),
    Case("archive", ARCHIVE, short=True),
    Case("processes", "processes", short=True),
    Case("processes_glibc", "processes_glibc", short=True),
    Case("signals", "signals", short=True),
    Case("threads", "threads", short=True),
    Case("forktree", "forktree 60", short=True),
    Case("forktree_500", "forktree 500", least_mib=64),
    Case("fs_calls", "mkdir calls.d && fs_calls $PWD/calls.d && rmdir calls.d", short=True),
    Case("fs_calls_tmp", "mkdir /tmp/calls.d && fs_calls /tmp/calls.d && rmdir /tmp/calls.d", short=True),
    Case("fsx", "fsx fsx.file 1 1500", short=True),
    Case("fsx_more", "for seed in 2 3 4 5 6; do fsx fsx.$seed $seed 4000 || exit 1; done"),
    Case("fsx_large", "fsx fsx.large 7 3000 4096 && rm fsx.large"),
    Case("fsx_tmp", "fsx /tmp/fsx.kernel 8 3000 && rm /tmp/fsx.kernel", short=True),
    Case("database", "database write db 40 && database check db 40 && rm db", short=True),
    # Linux 6.1 does not clear what a mapping stored behind the end of a file of tmpfs when the file grows.
    Case("conformance", CONFORMANCE.format(rounds=2), short=True, linux=False),
    Case("conformance_more", CONFORMANCE.format(rounds=20), seconds=900, linux=False),
    Case("big_sort", "big sort {twice}", big=True, seconds=600),
    Case("big_file", "big file big.file {four} && rm big.file", big=True, seconds=300),
    Case("shell_sort", SORT, big=True, seconds=900),
    Case("ticker", "ticker 8 {mib} 3000", short=True, native=False),
    Case("ticker_more", "ticker 20 {twice} 5000", native=False, big=True),
    Case("badcalls", "badcalls 5 1", short=True, native=False),
    Case("badcalls_more", "badcalls 60 2", native=False, seconds=300),
]


def chosen(only, short, memory_mib, on_linux):
    """The cases whose name has `only` in it; of the short form; that this memory is enough for."""
    return [
        case
        for case in CASES
        if only in case.name
        and (case.short or not short)
        and (case.linux or not on_linux)
        and case.least_mib <= memory_mib
    ]
