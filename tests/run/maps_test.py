"""maps.c: files over reserved addresses, mappings that move, children without them; and what is told at the end."""

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


def engines(case):
    """Runs of the case that behave as natively, with the engine's name."""
    native = Run(prepared(case))
    after = digest(work)
    check(native.status == 0, f"{case} natively: {native.status} {native.out[-200:]!r}")
    for memory, engine in ((2 << 20, "signal"), (8 << 20, "signal"), (4 << 20, "thread")):
        run = under(memory, prepared(case), options=["--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        name = f"{case} with {memory >> 20}M, {engine}"
        same(name, native, run, memory)
        check(digest(work) == after, f"{name}: the file is the same")
        yield name, engine, run


def line_of(run):
    return [line for line in run.err.decode().splitlines() if "outside the limit" in line]


def filters_of(run):
    return int(re.search(r"filters (\d+)", run.err.decode()).group(1))


for case in ("move", "dontfork", *["fork_two"] * 5):
    for name, engine, run in engines(case):
        pass

for name, engine, run in engines("reserve"):
    left = run.stats["bytes_left_fixed"]
    check(run.stats["page_ins"] > PAGES and left <= 100 * 4096, f"{name}: managed, but for {left} bytes")

# Pages that are written in private would have nowhere to go: such a mapping is the kernel's.
for name, engine, run in engines("image"):
    check(run.stats["bytes_left_image"] >= 3 * SIZE, f"{name}: left {run.stats['bytes_left_image']}")

for case in ("again", "lengths"):
    for name, engine, run in engines(case):
        check(run.stats["bytes_left_to_kernel"] == 0, f"{name}: all managed")
        if engine == "signal":
            check(filters_of(run) <= 6, f"{name}: {filters_of(run)} filters")

# A reservation that is used as memory is the kernel's, and the filter does not look at it.
for name, engine, run in engines("heap"):
    expected = 1 if engine == "signal" else 0
    check(filters_of(run) == expected, f"{name}: {filters_of(run)} filters")
    check(run.stats["mappings_peak"] == 0, f"{name}: nothing is managed")

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
