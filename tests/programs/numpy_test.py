"""numpy.memmap: read, written through MAP_SHARED, handed to files and filled from them. Output and files are
those of the native run, byte for byte."""

from harness import *

SIZE = 32 << 20
PROGRAM = r"""
import hashlib, mmap, os, sys
import numpy as np
path, copy, third = sys.argv[1:4]
a = np.memmap(path, dtype=np.uint8, mode="r")
print("sum", int(a.sum(dtype=np.int64)), hashlib.sha256(np.sort(a[5_000_000:9_000_000])).hexdigest())
b = np.memmap(path, dtype=np.uint32, mode="r")
print("random", [int(b[i]) for i in np.random.default_rng(7).integers(0, len(b), 2000)][::100])
a.tofile(copy)                                     # C's fwrite from a mapping
print("tofile", hashlib.sha256(open(copy, "rb").read()).hexdigest())
w = np.memmap(copy, dtype=np.uint8, mode="r+")
w[::4096] += 1
w[10_000_000:20_000_000] = 7
w.flush()
print("written", hashlib.sha256(w).hexdigest())
w[123::8192] ^= 255                                # reaches the file when the process ends
fd = os.open(third, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
with open(path, "rb") as file:
    view = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    done = 0
    while done < len(view):
        done += os.write(fd, view[done:])          # write(2) from a mapping
m = mmap.mmap(fd, 0)
with open(path, "rb") as file:
    file.seek(12345)
    print("readinto", file.readinto(memoryview(m)[777:20_000_777]))   # read(2) into a mapping
    views = [memoryview(m)[21_000_000:24_000_000], memoryview(m)[5:99]]
    print("preadv", os.preadv(file.fileno(), views, 4097))
print("third", hashlib.sha256(m).hexdigest())
c = np.memmap(path, dtype=np.uint8, mode="c")      # private
c[1_000_000:1_300_000] = 1
print("private", hashlib.sha256(c).hexdigest(), hashlib.sha256(a).hexdigest())
"""

directory = scratch()
data = os.path.join(directory, "data")
write_text(data, SIZE, seed=2)


def files(tag):
    return [os.path.join(directory, name + tag) for name in ("copy", "third")]


def argv(tag):
    return [PYTHON, "-c", PROGRAM, data, *files(tag)]


native = Run(argv("native"))
check(native.status == 0, f"numpy natively {native.err[-300:]!r}")
before = digest(data)
for part in (2, 8, 32):
    run = under(SIZE // part, argv(str(part)))
    same(f"numpy with 1/{part}", native, run, SIZE // part, SIZE)
    if run.status == 0:
        for ours, theirs in zip(files(str(part)), files("native")):
            equal = digest(ours) == digest(theirs)
            check(equal, f"numpy with 1/{part}: {os.path.basename(ours)} is the same file")
    check(digest(data) == before, f"numpy with 1/{part}: the source is untouched")
finish()
