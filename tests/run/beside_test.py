"""beside.c: a system call on a mapping is in progress while other threads punch, truncate, unmap, remap,
protect and fork.
"""

from harness import *

BESIDE = os.path.join(os.path.dirname(CALLS), "beside")
SCENES = ["files", "overlap", "streams", "punched", "handed_over", "mapped_anew", "everything_else"]
# With the thread engine the call is not intercepted, and can meet memory that is being replaced.
# See docs/run.md.
REPLACED = ["files_anew", "streams_anew", "forks"]
directory = scratch()
file = os.path.join(directory, "file")

for scene in SCENES + REPLACED:
    native = Run([BESIDE, scene, file])
    if not check(native.status == 0 and native.out == b"right\n", f"{scene} natively"):
        print(f"      status {native.status}, {native.out[-300:]!r} {native.err[-300:]!r}")
    for memory, engine in ((1 << 20, "signal"), (16 << 20, "signal"), (16 << 20, "thread")):
        if engine == "thread" and scene in REPLACED:
            continue
        run = under(memory, [BESIDE, scene, file], options=["--fault", engine, "--min-size", "0"])
        if engine == "thread" and run.status == 125:
            continue
        if not check(run.status == 0 and run.out == b"right\n", f"{scene} with {memory >> 20}M, {engine}"):
            print(f"      status {run.status}, {run.out[-300:]!r} {run.err[-300:]!r}")
finish()
