"""calls_files.c: what calls on mapped files promise to several threads, processes and descriptors.

And that calls on a file that is not mapped make no additional system call.
"""

import re

from given_file import *

CASES = (
    "stripes position append comes_and_goes fork system exit passed numbers streams write_only limit holes "
    "synced"
).split()
SAME_CONTENTS = set(CASES) - {
    "stripes",
    "position",
    "append",
    "comes_and_goes",
}  # threads in an order of their own


def reads(argv):
    """The names of the system calls from the first to the last of the 1000 reads that the case makes."""
    trace = os.path.join(directory, "trace")
    done = subprocess.run(
        ["strace", "-f", "-o", trace, *argv], capture_output=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        return None
    with open(trace, encoding="utf-8", errors="replace") as file:
        found = re.findall(r"^(\d+) +(\w+)\(", file.read(), re.MULTILINE)
    names = [name for pid, name in found if pid == found[0][0]]  # other threads have their own business
    at = [i for i, name in enumerate(names) if name == "pread64"]
    return names[at[-1000] : at[-1] + 1] if len(at) >= 1000 else names


for case in CASES:
    list(under_limits("calls_files", case, same_file=case in SAME_CONTENTS))

if shutil.which("strace"):
    command = [
        FAULTLINE,
        "run",
        "--memory",
        "8M",
        "--fault",
        "thread",
        "--",
        *prepared("calls_files", "cost"),
    ]
    calls = reads(command)
    if calls is None:
        print("skip  system calls are not counted: no strace here, or no handler threads")
    else:
        others = [name for name in calls if name != "pread64"]
        check(
            len(calls) == 1000 and others == [],
            f"1000 reads of a file that is not mapped, and nothing else {others[:9]}",
        )
finish()
