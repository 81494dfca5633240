"""calls.c: system calls with mapped buffers, signals, fixed mappings and fork do what they do natively."""

from given_file import *

CASES = (
    "pipe vector message odd interrupt blocked truncate handler die segv fixed coherent database "
    "exec raw_fork threads fork fork_shared fork_threads"
).split()

for case in CASES:
    # fork_threads writes for as long as the forks take, so its file differs from run to run
    list(under_limits("calls", case, statuses=(0, -7, -11), same_file=case != "fork_threads"))
finish()
