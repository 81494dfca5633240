"""Written pages of private mappings that exceed the limit many times: the same bytes as natively, the limit
kept, the swap file gone; what is said when it is full, cannot be written, or is missing; and forks."""

import signal

from harness import *

MEMORY = 4 << 20
DATA = 8 * MEMORY
PROGRAM = r"""
import hashlib, mmap, os, random, sys
P = 4096
file = os.open(sys.argv[1], os.O_RDONLY)
n = os.fstat(file).st_size // P
m = mmap.mmap(file, n * P, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
def digest():
    h = hashlib.sha256()
    for i in range(n):
        h.update(m[i * P:i * P + P])
    return h.hexdigest()
for i in range(n):
    m[i * P:i * P + 16] = b"%016d" % i
order = list(range(n))
random.Random(1).shuffle(order)
for i in order[:n // 4]:
    m[i * P + 32:i * P + 40] = b"%08d" % i
for i in order[n // 4:n // 3]: # as zeros, and as text
    m[i * P:i * P + P] = bytes(P)
for i in order[n // 3:n // 2]:
    m[i * P:i * P + P] = (b"line %d of page %d\n" % (i * 7, i) * 300)[:P]
print(digest())
what = sys.argv[2:]
if "fork" in what:
    sys.stdout.flush()
    child = os.fork()
    m[5 * P:5 * P + 6] = b"child " if child == 0 else b"parent"
    if child == 0:
        print("child", digest(), flush=True)
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), digest())
if "forget" in what: # the pages, of which the file's bytes come back
    m.madvise(mmap.MADV_DONTNEED, 0, n // 2 * P)
    print(digest())
"""

directory = scratch()
data = os.path.join(directory, "data")
program = os.path.join(directory, "program.py")
with open(data, "wb") as file:
    file.write(random.Random(2).randbytes(DATA))
with open(program, "w", encoding="ascii") as file:
    file.write(PROGRAM)
place = os.path.join(directory, "place")
os.mkdir(place)
TMPDIR = dict(os.environ, TMPDIR=place)


def argv(*what):
    return [PYTHON, program, data, *what]


def lines(run, *words):
    """One line on standard error, with these words."""
    line = run.err.decode()
    good = line.startswith("faultline: ") and line.count("\n") == 1
    check(good and all(word in line for word in words), f"one line with {words}: {line!r}")


# The same bytes, within the limit, and nothing is left behind.
WITH_FORK, WITHOUT = ("fork", "forget"), ("forget",)
native = {what: Run(argv(*what)) for what in (WITH_FORK, WITHOUT)}
for what, options in (
    (WITH_FORK, []),
    (WITH_FORK, ["--compress"]),
    (WITHOUT, ["--compress=20%", "--swap", place]),
    (WITHOUT, ["--swap", os.path.join(place, "swap"), "--swap-size", "40M"]),
    (WITHOUT, ["--fault", "thread", "--compress"]),
):
    run = under(MEMORY, argv(*what), options, env=TMPDIR)
    if run.status == 125 and "thread" in options:
        print("skip  no handler threads here")
        continue
    same(" ".join(["swap", *options]), native[what], run, MEMORY, DATA)
    check(os.listdir(place) == [], f"{options}: no swap file is left: {os.listdir(place)}")
    check(digest(data) == hashlib.sha256(random.Random(2).randbytes(DATA)).hexdigest(), "the file is untouched")

# Programs that a program starts have a swap file each, also of the same name.
each = "for i in 1 2 3; do %s %s %s & done; wait" % tuple(argv())
many = Run([*(FAULTLINE, "run", "--memory", str(MEMORY), "--swap", os.path.join(place, "swap")), "--", "sh", "-c", each])
first = native[WITHOUT].out.splitlines()[0]
check(many.out.splitlines() == [first] * 3, f"three programs at a time: {many.out!r} {many.err[-300:]!r}")
check(os.listdir(place) == [], "no swap file is left")

# Swap that is full, or missing: one line, and the end of the process.
run = under(MEMORY, argv(), ["--swap-size", "16M"])
check(run.status == -signal.SIGKILL, f"swap is full: status {run.status}")
lines(run, str(MEMORY), str(16 << 20), "--swap-size", "--memory")
run = under(MEMORY, argv(), ["--swap-size", "0"])
check(run.status == -signal.SIGKILL, f"no swap: status {run.status}")
lines(run, str(MEMORY), "--memory")
nowhere = dict(os.environ, TMPDIR="/nonexistent")
run = under(MEMORY, argv(), env=nowhere)
check(run.status == -signal.SIGKILL, f"no place for swap: status {run.status}")
lines(run, "/nonexistent", "no such directory")
run = under(2 * DATA, argv(), env=nowhere)
check(run.status == 0 and run.out.startswith(first) and run.err == b"", "no place for swap, and no need of it")
run = under(MEMORY, argv(), ["--swap-size", "1M"], env=nowhere)
check(run.status == 125, f"no place for the swap that was asked for: status {run.status}")
lines(run, "/nonexistent", "no such directory")

# Text of more than three times the limit stays in the compressed tier: nothing is written to the disk.
LOG = r"""
import mmap, os, random, sys
P, n = 4096, int(sys.argv[2]) // 4096
file = os.open(sys.argv[1], os.O_RDONLY)
m = mmap.mmap(file, n * P, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
def page(i):
    rng, text = random.Random(i), ""
    what = ["/index.html", "/images/logo.png", "/api/v1/orders", "/api/v1/customers"]
    while len(text) < P:
        text += "10.1.%d.%d - - [28/Nov/2026:10:%02d:%02d +0000] \"GET %s HTTP/1.1\" 200 %d\n" % (
            rng.randrange(256), rng.randrange(256), i // 60 % 60, i % 60, rng.choice(what), rng.randrange(20000))
    return text.encode()[:P]
for i in range(n):
    m[i * P:i * P + P] = page(i)
print(all(m[i * P:i * P + P] == page(i) for i in range(n)))
print(next(line.split()[1] for line in open("/proc/self/io") if line.startswith("write_bytes")))
"""
text_memory = 8 << 20
for options, writes in ((["--compress"], False), ([], True)):
    run = under(text_memory, [PYTHON, "-c", LOG, data, str(26 << 20)], options)
    out = run.out.split()
    check(run.status == 0 and out[0] == b"True", f"26 MiB of text {options}: status {run.status} {run.err[-300:]!r}")
    check((int(out[1]) > text_memory) == writes, f"26 MiB of text {options}: {int(out[1])} bytes written")
    check(run.stats["peak_resident_bytes"] <= text_memory, "the limit is kept")

# A disk that becomes full.
if os.geteuid() == 0 and Run(["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", place]).status == 0:
    command = f"mount -t tmpfs -o size=4M tmpfs {place} && exec " + " ".join(
        [FAULTLINE, "run", "--memory", str(MEMORY), "--", *argv()]
    )
    run = Run(["unshare", "-m", "sh", "-c", command], env=TMPDIR)
    check(run.status == -signal.SIGKILL, f"the disk is full: status {run.status}")
    lines(run, "No space left on device", "swap file")
else:
    print("skip  no file system of our own can be mounted here")
finish()
