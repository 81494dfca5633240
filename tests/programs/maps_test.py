"""maps.c: mappings that move, children without them; and what is told at the end."""

import hashlib
import re

from harness import *

PAGES = 5000
SIZE = PAGES * 4096
MAPS = os.path.join(os.path.dirname(CALLS), "maps")
directory = scratch()
base = os.path.join(directory, "base")
write_pages(base, PAGES)
work = os.path.join(directory, "file")


def prepared(case):
    shutil.copyfile(base, work)
    return [MAPS, case, work]


def digest():
    with open(work, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def engines(case):
    """Runs of the case that behave as natively, with the engine's name."""
    native = Run(prepared(case))
    after = digest()
    check(native.status == 0, f"{case} natively: {native.status} {native.out[-200:]!r}")
    for memory, engine in ((2 << 20, "signal"), (8 << 20, "signal"), (4 << 20, "thread")):
        run = under(memory, prepared(case), options=["--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        name = f"{case} with {memory >> 20}M, {engine}"
        same(name, native, run, memory)
        check(digest() == after, f"{name}: the file is the same")
        yield name, engine, run


def line_of(run):
    return [line for line in run.err.decode().splitlines() if "outside the limit" in line]


for case in ("move", "dontfork", *["fork_two"] * 5):
    for name, engine, run in engines(case):
        pass

for name, engine, run in engines("private"):
    check(run.stats["bytes_left_to_kernel"] == 0, f"{name}: nothing is the kernel's")
    check(not line_of(run), f"{name}: nothing to say {run.err!r}")

# The line at the end.
for case, expected in (("inside", None), ("exec_child", None), ("outside", "fixed"), ("child", "forked")):
    for name, engine, run in engines(case):
        lines = line_of(run)
        if expected is None:
            check(not lines, f"{name}: nothing to say {lines}")
            check(run.stats["children_without_limit"] == 0, f"{name}: no children")
            continue
        mib = SIZE >> 20
        pattern = rf"^faultline: {mib} MiB of {2 * SIZE >> 20} MiB of mapped files were outside the limit: .*{expected}.* \(.*\)$"
        check(len(lines) == 1 and re.match(pattern, lines[0]), f"{name}: one line: {lines}")
        check(run.stats["bytes_eligible"] == 2 * SIZE, f"{name}: eligible {run.stats['bytes_eligible']}")
        check(run.stats["bytes_left_to_kernel"] == SIZE, f"{name}: left {run.stats['bytes_left_to_kernel']}")
        check(run.stats["children_without_limit"] == (case == "child"), f"{name}: children")
finish()
