"""The cases of a compiled program, `PROGRAM CASE FILE`: natively, and under limits smaller than the file.

FILE is PAGES numbered pages, copied anew for each run.
"""

from harness import *

PAGES = 5000
ENGINES = ((2 << 20, "signal"), (8 << 20, "signal"), (4 << 20, "thread"))  # limit in bytes, fault engine

directory = scratch()
base = os.path.join(directory, "base")
work = os.path.join(directory, "file")
write_pages(base, PAGES)


def prepared(program, case):
    """The command of the case, with a fresh file."""
    shutil.copyfile(base, work)
    return [os.path.join(os.path.dirname(CALLS), program), case, work]


def under_limits(program, case, statuses=(0,), same_file=True):
    """Runs the case natively and under each of ENGINES that this kernel allows, and checks that they agree.

    statuses: how the native run may end. same_file: the file must be the same afterwards, too. Yields (name,
    engine, run).
    """
    native = Run(prepared(program, case))
    after = digest(work)
    check(native.status in statuses, f"{case} natively: {native.status} {native.out[-200:]!r}")
    for memory, engine in ENGINES:
        run = under(memory, prepared(program, case), options=["--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        name = f"{case} with {memory >> 20}M, {engine}"
        same(name, native, run, memory)
        if same_file:
            check(digest(work) == after, f"{name}: the file is the same")
        yield name, engine, run
