"""anon.c: with --anon, calls, forks, new programs, locks and stacks in anonymous memory do what they do
natively, while the memory that they use is swapped out.
"""

from harness import *

ANON = os.path.join(os.path.dirname(CALLS), "anon")
CASES = "maps calls long futex timer stacks pinned fork fork_malloc vfork spawn".split()

for case in CASES:
    native = Run([ANON, case])
    check(native.status == 0, f"{case} natively: {native.status} {native.out[-200:]!r}")
    for memory, engine in ((2 << 20, "signal"), (2 << 20, "thread")):
        if case == "timer" and engine == "signal":  # docs/run.md
            continue
        run = under(memory, [ANON, case], options=["--anon", "--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        same(f"{case} with {memory >> 20}M, {engine}", native, run, memory)
        if run.stats is not None:
            peak = run.stats["peak_resident_bytes"]
            check(peak <= memory and run.stats["evictions"] > 0, f"{case}, {engine}: peak {peak} <= {memory}")
finish()
