"""maps.c: files over reserved addresses, mappings that move, children without them; and the report at the
end.
"""

import re

from given_file import *

SIZE = PAGES * 4096


def line_of(run):
    return [line for line in run.err.decode().splitlines() if "outside the limit" in line]


def filters_of(run):
    return int(re.search(r"filters (\d+)", run.err.decode()).group(1))


for case in ("move", "dontfork", *["fork_two"] * 5):
    list(under_limits("maps", case))

for name, engine, run in under_limits("maps", "reserve"):
    left = run.stats["bytes_left_fixed"]
    check(run.stats["page_ins"] > PAGES and left <= 100 * 4096, f"{name}: managed, but for {left} bytes")

# Written pages of a private mapping could not be evicted without swap: such a mapping is left to the kernel.
for name, engine, run in under_limits("maps", "image"):
    check(run.stats["bytes_left_image"] >= 3 * SIZE, f"{name}: left {run.stats['bytes_left_image']}")

for case in ("again", "lengths"):
    for name, engine, run in under_limits("maps", case):
        check(run.stats["bytes_left_to_kernel"] == 0, f"{name}: all managed")
        if engine == "signal":
            check(filters_of(run) <= 6, f"{name}: {filters_of(run)} filters")

# A reservation that is used as anonymous memory is left to the kernel, and is not in the filter.
for name, engine, run in under_limits("maps", "heap"):
    expected = 1 if engine == "signal" else 0
    check(filters_of(run) == expected, f"{name}: {filters_of(run)} filters")
    check(run.stats["mappings_peak"] == 0, f"{name}: nothing is managed")

for name, engine, run in under_limits("maps", "private"):
    check(run.stats["bytes_left_to_kernel"] == 0, f"{name}: nothing is the kernel's")
    check(not line_of(run), f"{name}: nothing to say {run.err!r}")

# The line at the end.
for case, expected in (("inside", None), ("exec_child", None), ("outside", "fixed"), ("child", "forked")):
    for name, engine, run in under_limits("maps", case):
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
