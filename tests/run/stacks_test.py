"""stacks.c: stacks of threads, coroutines and signal handlers in mapped memory work, and the memory beside
them is right.
"""

from harness import *

STACKS = os.path.join(os.path.dirname(CALLS), "stacks")
directory = scratch()
data, base, work = (os.path.join(directory, name) for name in ("data", "base", "work"))
write_pages(data, 4000)
write_pages(base, 4000)

for case in "sthreads pthreads scoroutines pcoroutines shandler phandler".split():
    shutil.copyfile(base, work)
    native = Run([STACKS, case, data, work])
    check(native.status == 0, f"{case} natively: {native.status} {native.out[-200:]!r}")
    for memory, engine in ((2 << 20, "signal"), (16 << 20, "signal"), (4 << 20, "thread")):
        shutil.copyfile(base, work)
        run = under(memory, [STACKS, case, data, work], options=["--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        same(f"{case} with {memory >> 20}M, {engine}", native, run, memory)
finish()
