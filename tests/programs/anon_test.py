"""Programs whose heap is several times the limit, with --anon: Python's lists, numpy's arrays, sort, and a
C++ program with threads. Output and status are the native ones and the peak is within the limit, also where
the programs fork or start others. A program that is killed leaves nothing behind.
"""

import signal
import time

from harness import *

LISTS = r"""
import hashlib, random
rng = random.Random(5)
rows = [b"%012d " % rng.randrange(10 ** 12) + rng.randbytes(50) * rng.randrange(150, 200) for _ in range(1800)]
rows.sort(key=lambda row: row[:12])
digest = hashlib.sha256()
for row in rows:
    digest.update(row)
print(digest.hexdigest(), rows[0][:12], rows[-1][:12])
parts = [sorted(i * 7919 % 1000003 / 3 + part for i in range(20000)) for part in range(4)]
print(sum(map(sum, parts)))
"""
ARRAYS = r"""
import hashlib
import numpy as np
a = np.arange(1_000_000, dtype=np.float64)
b = np.sqrt(a * 3 + 1)
print(float(a.sum()), float(b.sum()), float((a + b).max()))
b[::2] = -b[::2]
b.sort()
print(hashlib.sha256(b).hexdigest())
"""
FORKS = r"""
import hashlib, mmap, os, random, subprocess
rng = random.Random(1)
rows = [rng.randbytes(5000) for _ in range(3000)]
shared = mmap.mmap(-1, 2 << 20)
def digest():
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row)
    return digest.hexdigest()
for turn in range(2):
    ends = os.pipe()
    pid = os.fork()
    if pid == 0:
        shared[turn] = 5 + turn
        rows[7] = b"of the child"
        os.write(ends[1], digest().encode())
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.read(ends[0], 100), digest(), shared[turn])
os.environ["WORD"] = "word"
print(os.popen("echo popen $WORD").read(), end="")
for options in {}, {"close_fds": False}, {"preexec_fn": lambda: None}:
    print(subprocess.run(["sh", "-c", "echo $WORD; cat"], input=rows[3], capture_output=True, **options))
print(os.system("exit 4"))
"""
ENDLESS = r"""
rows = []
while True:
    rows.append(bytes(5000))
    if len(rows) % 1000 == 0:
        print(len(rows), flush=True)
        rows = rows[-5000:]
"""

directory = scratch()
lines = os.path.join(directory, "lines")
rng = random.Random(3)
with open(lines, "wb") as file:
    for i in range(30000):
        file.write(b"%d %s\n" % (rng.randrange(10**9), b"x" * (i % 200)))
PROGRAMS = (
    ("lists", 4 << 20, [PYTHON, "-c", LISTS], 16 << 20),
    ("arrays", 12 << 20, [PYTHON, "-c", ARRAYS], 36 << 20),
    ("forks", 6 << 20, [PYTHON, "-c", FORKS], 15 << 20),
    ("sort", 3 << 20, ["sort", "-S", "40M", "--parallel=2", lines], 6 << 20),
    ("threads", 8 << 20, [os.path.join(os.path.dirname(CALLS), "map_threads"), "8000"], 24 << 20),
)


def killed(memory):
    """A program is killed while it swaps: its swap file is gone, and nothing runs on."""
    place = os.path.join(directory, "swap")
    os.mkdir(place)
    argv = [*(FAULTLINE, "run", "--anon", "--memory", str(memory), "--swap", place), "--", PYTHON, "-c", ENDLESS]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        for _ in range(6):
            said = process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    check(said == b"6000\n" and process.returncode == -signal.SIGKILL, f"killed at {said}: {process.returncode}")
    check(os.listdir(place) == [], f"killed: nothing is left in {place}")
    found = subprocess.run(["pgrep", "-f", place], stdout=subprocess.PIPE, check=False)
    check(found.stdout == b"", f"killed: nothing runs on {found.stdout}")


for name, memory, argv, data in PROGRAMS:
    if not os.path.exists(argv[0]) and "/" in argv[0]:
        continue
    start = time.monotonic()
    native = Run(argv, env={**os.environ, "LC_ALL": "C"})
    took = time.monotonic() - start
    check(native.status == 0, f"{name} natively {native.err[-300:]!r}")
    start = time.monotonic()
    run = under(memory, argv, ["--anon"], env={**os.environ, "LC_ALL": "C"})
    same(name, native, run, memory, data)
    print(f"      {time.monotonic() - start:.1f} s, natively {took:.1f} s")
killed(4 << 20)
finish()
