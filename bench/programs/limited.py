"""One run of a program within a memory limit: by the kernel in a memory cgroup, or by Faultline in the same.

  the kernel   cgroup of limit + beside [ program, page cache ]
  Faultline    cgroup of limit + beside [ program, `faultline run` with the limit ]

`beside` is what the program needs besides its mapped files. Both sides have it. The caller drops the files
from the page cache before a run, so that every page of them is read within the cgroup and counts there. This
module starts processes and accounts for them; it does not know the programs, and does not compare output.
"""

import contextlib
import dataclasses
import errno
import json
import os
import signal
import subprocess
import threading
import time

MIB = 1 << 20
BLOCK_BYTES = 512  # of ru_inblock
V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
REMOVE_SECONDS = 10


class NoCgroup(Exception):
    """Memory cgroups cannot be made here; says why."""


class Cgroup:
    """A memory cgroup, version 1 or 2, for the processes of one run. Leaving the `with` block removes it."""

    def __init__(self, limit_bytes, swap_bytes=0):
        v1 = os.path.exists(f"{V1}/cgroup.procs")
        self.path = f"{V1 if v1 else V2}/faultline-programs-{os.getpid()}"
        self.peak_file = "memory.max_usage_in_bytes" if v1 else "memory.peak"
        swap = ("memory.memsw.limit_in_bytes", limit_bytes + swap_bytes) if v1 else ("memory.swap.max", swap_bytes)
        try:
            os.makedirs(self.path, exist_ok=True)
            self.put("memory.limit_in_bytes" if v1 else "memory.max", limit_bytes)
            if os.path.exists(f"{self.path}/{swap[0]}"):
                self.put(*swap)
        except OSError as error:
            if os.path.isdir(self.path):
                os.rmdir(self.path)
            raise NoCgroup(f"needs root and a memory cgroup: {error}") from error

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        end = time.monotonic() + REMOVE_SECONDS
        while True:
            try:
                return os.rmdir(self.path)
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > end:
                    raise
            with open(f"{self.path}/cgroup.procs") as file:
                for pid in file.read().split():
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.05)

    def put(self, name, value):
        with open(f"{self.path}/{name}", "w") as file:
            file.write(str(value))

    def enter(self):
        self.put("cgroup.procs", os.getpid())

    def peak_bytes(self):
        with open(f"{self.path}/{self.peak_file}") as file:
            return int(file.read())


@dataclasses.dataclass
class Run:
    """What one run took and did, by the kernel's account of the process, and by Faultline's in `stats`.

    `failure` is None, or says how the run went wrong. `output` is what it printed.
    """

    seconds: float
    processor_seconds: float
    major_faults: int
    read_bytes: int
    failure: str | None
    output: bytes
    peak_bytes: int | None = None
    stats: dict | None = None


def size(text):
    """The bytes that `text`, as 64M, stands for."""
    return int(text[:-1]) * UNITS[text[-1]] if text[-1:] in UNITS else int(text)


def drop_cache(path):
    """The file, or every file below the folder, leaves the kernel's page cache."""
    names = [path]
    if os.path.isdir(path):
        names = [os.path.join(folder, name) for folder, _, found in os.walk(path) for name in found]
    for name in names:
        fd = os.open(name, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def read_ahead_file(path):
    """Where the kernel keeps its read-ahead, in KiB, for the disk of `path`."""
    device = os.stat(path).st_dev
    return f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"


def read_ahead_kib(path):
    """None where the file system hides its disk."""
    try:
        with open(read_ahead_file(path)) as file:
            return int(file.read())
    except FileNotFoundError:
        return None


def start(argv, cgroup, timeout, scratch, variables):
    """Runs argv to its end, or to the time limit. `scratch` is a folder for what it prints."""
    names = [os.path.join(scratch, name) for name in ("stdout", "stderr")]
    with open(names[0], "wb") as out, open(names[1], "wb") as err:
        began = time.monotonic()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **variables},
            preexec_fn=cgroup.enter if cgroup else None,
            start_new_session=True,
        )
        late = threading.Event()

        def end():
            late.set()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(timeout, end)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            end()
            raise
        finally:
            timer.cancel()
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    said = [open(name, "rb").read() for name in names]
    for name in names:
        os.unlink(name)
    failure = None
    if late.is_set():
        failure = f"timed out after {timeout:g} s"
    elif process.returncode != 0:
        last = said[1].decode(errors="replace").strip().splitlines()[-1:]
        failure = f"status {process.returncode} {' '.join(last)}".strip()
    return Run(
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_majflt,
        usage.ru_inblock * BLOCK_BYTES,
        failure,
        said[0],
    )


def run(
    argv,
    *,
    scratch,
    timeout,
    cgroup_bytes=None,
    swap_bytes=0,
    faultline=None,
    limit=None,
    options=(),
    variables={},
):
    """One run: under `faultline run` with `limit` and `options` if `faultline` is given, in a cgroup if its
    size is. swap_bytes: how much of the kernel's swap the cgroup may use."""
    stats = os.path.join(scratch, "stats.json")
    if faultline:
        argv = [faultline, "run", "--memory", str(limit), *options, "--stats", stats, "--", *argv]
    if cgroup_bytes is None:
        done = start(argv, None, timeout, scratch, variables)
    else:
        with Cgroup(cgroup_bytes, swap_bytes) as cgroup:
            done = start(argv, cgroup, timeout, scratch, variables)
            done.peak_bytes = cgroup.peak_bytes()
    if faultline and os.path.exists(stats):
        with open(stats) as file:
            text = file.read()
        os.unlink(stats)
        done.stats = json.loads(text) if not done.failure else None
    return done


def table(rows, left=1):
    """Prints rows of strings in columns, the first `left` of them flush left, the others flush right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    for row in rows:
        cells = [f"{c:<{w}}" if i < left else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
