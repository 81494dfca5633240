"""What the tests of real programs share: data, a native run beside runs under limits, and the comparison.

Each test is called as  TEST.py FAULTLINE CALLS : the command, and the compiled calls.c.
"""

import atexit
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

FAULTLINE = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "faultline"
CALLS = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else "calls"
PYTHON = "/usr/bin/python3"  # Debian's, with its numpy
TIMEOUT_S = 60

_failures = 0


def check(good, what):
    global _failures
    print(("ok    " if good else "FAIL  ") + what, flush=True)
    _failures += not good
    return good


def finish():
    sys.exit(1 if _failures else 0)


def scratch():
    """A directory on a real file system: mappings of files on tmpfs are not managed."""
    directory = tempfile.mkdtemp(prefix="faultline-", dir=os.getcwd())
    atexit.register(shutil.rmtree, directory, True)
    return directory


def write_text(path, size, seed=1):
    """Lines of words, the same for the same seed."""
    rng = random.Random(seed)
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(2000)]
    with open(path, "wb") as file:
        while file.tell() < size:
            lines = [b" ".join(rng.choices(words, k=10)) for _ in range(200)]
            file.write(b"\n".join(lines * 20) + b"\n")
        file.truncate(size)


def digest(path):
    """The digest of the file's bytes, as the kernel sees them."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def write_pages(path, pages):
    """Writes pages that hold their number."""
    with open(path, "wb") as file:
        for i in range(pages):
            file.write((b"%08d page bytes, " % i * 200)[:4096])


class Run:
    """A finished process; status 'timeout' when it was killed for taking too long."""

    def __init__(self, argv, **more):
        try:
            done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, check=False, **more)
            self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            self.status, self.out, self.err = "timeout", late.stdout or b"", late.stderr or b""
        self.stats = None


def under(memory, argv, options=(), **more):
    """Runs the program under a limit. The result has its stats."""
    path = os.path.join(tempfile.gettempdir(), f"faultline-stats-{os.getpid()}.json")
    run = Run([FAULTLINE, "run", "--memory", str(memory), "--stats", path, *options, "--", *argv], **more)
    if os.path.exists(path):
        with open(path, encoding="ascii") as file:
            run.stats = json.load(file)
        os.unlink(path)
    return run


def same(name, native, run, memory, data_bytes=None):
    """Checks that the output and the status are the native ones, and that the program reached the limit and
    kept it.
    """
    good = native.status == run.status and native.out == run.out
    if not check(good, f"{name}: same output and status {native.status}"):
        print(f"      status {run.status}, {len(native.out)} and {len(run.out)} bytes; {run.err[-500:]!r}")
    if run.stats is None or data_bytes is None:
        return
    peak, page_ins = run.stats["peak_resident_bytes"], run.stats["page_ins"]
    check(peak <= memory, f"{name}: peak {peak} <= {memory}")
    check(page_ins > 0 and run.stats["io_errors"] == 0, f"{name}: {page_ins} page-ins")
    if memory < data_bytes:
        check(run.stats["evictions"] > 0, f"{name}: {run.stats['evictions']} evictions")
