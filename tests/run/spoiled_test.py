"""spoiled.c: a mapped file that others shorten, lengthen, remove or replace, that must not grow, or whose
disk is full: the program sees the same as natively, no write is lost without a report, and the file is the
same in the end.
"""

from harness import *

SPOILED = os.path.join(os.path.dirname(CALLS), "spoiled")
CASES = "shortened shortened_while_read lengthened removed replaced limited".split()
ENGINES = ((1 << 20, "signal"), (8 << 20, "signal"), (2 << 20, "thread"))
directory = scratch()


def content(path):
    with open(path, "rb") as file:
        return file.read()


def spoiled(case, base, where, whole=True, says=b""):
    """Runs natively, then under each limit, on a copy each time. Not whole: only part of it has room, and the
    program checks it.
    """
    work = os.path.join(where, "file")
    shutil.copyfile(base, work)
    native = Run([SPOILED, case, work])
    after = content(work)
    check(native.status == 0, f"{case} natively: {native.status} {native.err!r}")
    for memory, engine in ENGINES:
        shutil.copyfile(base, work)
        run = under(memory, [SPOILED, case, work], ["--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        name = f"{case} with {memory >> 20}M, {engine}"
        same(name, native, run, memory)
        if native.out != run.out:
            print(native.out.decode(), run.out.decode(), sep="---\n")
        check(not whole or content(work) == after, f"{name}: the file is the same")
        check(says in run.err and b"private mappings" not in run.err, f"{name}: says {says!r}")
    os.unlink(work)


def on_a_small_disk():
    """A file system of 24 MiB in a file; None where it cannot be mounted (no loop device, no privilege)."""
    image, where = os.path.join(directory, "image"), os.path.join(directory, "disk")
    small = os.path.join(directory, "small")
    os.mkdir(where)
    with open(image, "wb") as file:
        file.truncate(24 << 20)
    made = shutil.which("mkfs.ext4") and Run(["mkfs.ext4", "-q", "-m", "0", image]).status == 0
    if not made or Run(["mount", "-o", "loop", image, where]).status != 0:
        print("skip  a full disk: no file system can be mounted here")
        return
    try:
        write_pages(small, 600)
        reason = b"is full (No space left on device)"
        spoiled("full", small, where, says=reason)
        spoiled("sparse", small, where, whole=False, says=reason)
    finally:
        Run(["umount", "-l", where])


base = os.path.join(directory, "base")
write_pages(base, 3000)
for name in CASES:
    spoiled(name, base, directory)
on_a_small_disk()
finish()
