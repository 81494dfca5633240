"""calls_files.c: what calls on mapped files promise to several threads, processes and descriptors.

And what they cost where no file is mapped: not one system call more.
"""

import re

from harness import *

PAGES = 5000
CASES = "stripes position append comes_and_goes fork system exit passed numbers streams write_only limit holes synced".split()
FILES = os.path.join(os.path.dirname(CALLS), "calls_files")
SAME_CONTENTS = set(CASES) - {"stripes", "position", "append", "comes_and_goes"}  # threads in an order of their own
directory = scratch()
base = os.path.join(directory, "base")
write_pages(base, PAGES)
work = os.path.join(directory, "file")


def prepared(case):
    shutil.copyfile(base, work)
    return [FILES, case, work]


def reads(argv):
    """The names of the system calls from the first to the last of the 1000 reads that the case makes."""
    trace = os.path.join(directory, "trace")
    done = subprocess.run(["strace", "-f", "-o", trace, *argv], capture_output=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        return None
    with open(trace, encoding="utf-8", errors="replace") as file:
        found = re.findall(r"^(\d+) +(\w+)\(", file.read(), re.MULTILINE)
    names = [name for pid, name in found if pid == found[0][0]]  # other threads have their own business
    at = [i for i, name in enumerate(names) if name == "pread64"]
    return names[at[-1000] : at[-1] + 1] if len(at) >= 1000 else names


for case in CASES:
    native = Run(prepared(case))
    after = digest(work)
    check(native.status == 0, f"{case} natively: {native.status} {native.out[-200:]!r}")
    for memory, engine in ((2 << 20, "signal"), (8 << 20, "signal"), (4 << 20, "thread")):
        run = under(memory, prepared(case), options=["--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        same(f"{case} with {memory >> 20}M, {engine}", native, run, memory)
        if case in SAME_CONTENTS:
            check(digest(work) == after, f"{case} with {memory >> 20}M, {engine}: the file is the same")

if shutil.which("strace"):
    command = [FAULTLINE, "run", "--memory", "8M", "--fault", "thread", "--", *prepared("cost")]
    calls = reads(command)
    if calls is None:
        print("skip  system calls are not counted: no strace here, or no handler threads")
    else:
        others = [name for name in calls if name != "pread64"]
        check(len(calls) == 1000 and others == [], f"1000 reads of a file that is not mapped, and nothing else {others[:9]}")
finish()
