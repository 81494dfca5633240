"""calls.c: system calls with mapped buffers, signals, fixed mappings and fork do what they do natively."""


from harness import *

PAGES = 5000
CASES = (
    "pipe vector message odd interrupt blocked truncate handler die segv fixed coherent database "
    "exec raw_fork threads fork fork_shared fork_threads"
).split()
directory = scratch()
base = os.path.join(directory, "base")
write_pages(base, PAGES)
work = os.path.join(directory, "file")


def prepared():
    shutil.copyfile(base, work)
    return [CALLS, case, work]


for case in CASES:
    native = Run(prepared())
    after = digest(work)
    check(native.status in (0, -7, -11), f"{case} natively: {native.status} {native.out[-200:]!r}")
    for memory, engine in ((2 << 20, "signal"), (8 << 20, "signal"), (4 << 20, "thread")):
        run = under(memory, prepared(), options=["--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        same(f"{case} with {memory >> 20}M, {engine}", native, run, memory)
        if case != "fork_threads":  # that one writes for as long as it takes
            check(digest(work) == after, f"{case} with {memory >> 20}M, {engine}: the file is the same")
finish()
