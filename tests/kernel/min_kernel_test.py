#!/usr/bin/python3 -B
"""min_kernel_test.py BUILD: the smallest kernel (examples/min_kernel) boots in QEMU, maps, faults and prints.

On 1, 2 and 4 CPUs it says what it should, gives all of its pages back, and switches the computer off. It does
so twice: what it has kept the first time must do for the second. So it does where the core sees only 2 MiB
directly (machines/x86_64/highmem.h). With too little memory it panics, and when it stores to address 0, with
registers and names. The test hears what is wrong in mutants of a good run's text, too. Without QEMU it is
skipped, with status 77."""
import os
import re
import shutil
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{REPOSITORY}/tools")
import kernel_machine

SKIPPED = 77
SECONDS = 120  # a boot takes one or two
LINE = re.compile(r"^(\d+) MiB at 0x[0-9a-f]+: (\d+) faults, \d+ us\r?$", re.M)
FREE = re.compile(r"^(\d+) of (\d+) frames are free\r?$", re.M)
MIB, PAGES = 8, 2048  # what min_kernel.c maps, and stores to
ROUNDS = 2
OWN_FRAMES = 64  # what the machine may keep of the VM's: the daemons' stacks, the heap

# (CPUs, memory, more of the command line, what is wrong or None)
RUNS = [
    (1, "64M", "", None),
    (2, "32M", "", None),
    (4, "64M", "", None),
    (2, "64M", "highmem=2", None),
    (1, "3M", "", "panic: "),
    (1, "64M", "crash", "panic: trap 14, error 0x2, at address 0, in kernel_main, invariants hold, status 1"),
]
# (in a good run's text, what else stands there, what is wrong then)
MUTANTS = [
    (r"min_kernel: \d", "min_kernel: 3", "it does not say the CPUs"),
    (r"hello", "", "it does not say the CPUs and its command line"),
    (r"\d+ faults", "0 faults", "0 faults for 8 MiB"),
    (r"\d+ faults", "2049 faults", "2049 faults for 8 MiB"),
    (r"\d+ MiB at", "4 MiB at", "for 4 MiB"),
    (r"\d+( of \d+ frames)", r"1\1", "frames are kept"),
    (r"\d+( of \d+ frames are free\s+good)", r"1\1", "frames are lost"),
    (r"\d+ of \d+ frames are free\s+good", "good", "a line is missing"),
    (r"good bye", "", "a line is missing"),
    (r"good bye", "good bye\npanic: after all", "panic: after all"),
]


def boot(elf, cpus, memory, words):
    """The console's text, and what the kernel gave to poweroff()."""
    append = f"hello {words}".strip()
    machine = kernel_machine.Machine(build="", kernel=elf, memory=memory, cpus=cpus, append=append)
    done = subprocess.run(
        machine.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS
    )
    return done.stdout.decode(errors="replace"), kernel_machine.program_status(done.returncode)


def wrong(text, status, cpus):
    """What is wrong with a run; None: nothing."""
    panic = re.search(r"panic: .*", text)
    if panic:
        where = re.search(r"^ rip ffffffff8.*?^  0xffffffff8[0-9a-f]+ (\w+)\+0x", text, re.M | re.S)
        hold = ", invariants hold" if "the VM's invariants hold" in text[panic.end() :] else ""
        return panic.group().strip() + (f", in {where.group(1)}{hold}, status {status}" if where else "")
    if status != 0:
        return f"status {status}"
    if f'min_kernel: {cpus} CPUs, ' not in text or '"hello' not in text:
        return "it does not say the CPUs and its command line"
    lines, frees = LINE.findall(text), FREE.findall(text)
    if len(lines) != ROUNDS or len(frees) != ROUNDS or not re.search(r"^good bye\r?$", text, re.M):
        return "a line is missing"
    for mib, faults in lines:
        if int(mib) != MIB or not 0 < int(faults) <= PAGES:
            return f"{faults} faults for {mib} MiB"
    (first, frames), (second, _) = (map(int, free) for free in frees)
    if frames - first > OWN_FRAMES:
        return f"{frames - first} frames are kept"
    return f"{first - second} frames are lost" if second != first else None


def main():
    if not shutil.which("qemu-system-x86_64"):
        print("skipped: qemu-system-x86_64 is not installed (`make deps` does that)")
        sys.exit(SKIPPED)
    elf, failures, heard = f"{sys.argv[1]}/min_kernel.elf", 0, None
    for cpus, memory, words, expected in RUNS:
        text, status = boot(elf, cpus, memory, words)
        found = wrong(text, status, cpus)
        good = expected in (found or "") if expected else found is None
        failures += not good
        print(f"{'ok' if good else 'FAILED':6} {cpus} CPUs, {memory} {words}: {found or 'in order'}")
        if not good:
            print(text)
        heard = heard or text
    for pattern, instead, expected in MUTANTS if not failures else []:
        mutant = re.sub(pattern, instead, heard)
        found = wrong(mutant, 0, RUNS[0][0])
        if mutant == heard or expected not in (found or ""):
            failures += 1
            print(f"FAILED {pattern} -> {instead}: expected {expected!r}, heard {found!r}")
    sys.exit(1 if failures else 0)


main()
