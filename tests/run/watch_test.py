"""Other processes are noticed, by fanotify and, where that is refused, by inotify: the stores of a process
under a limit are in the file soon after another process opens it, and writes of another process are
visible soon; with one line on standard error.
"""

import os
import subprocess
import sys
import time

from harness import CALLS, FAULTLINE, PYTHON, check, finish, scratch

REFUSE = os.path.join(os.path.dirname(CALLS), "refuse")
FANOTIFY_INIT, INOTIFY_INIT1 = "300", "294"
SOON_S = 1.0

# Maps argv[1] for argv[2], stores if it may, and answers what it sees at the place that each line names.
HOLDER = """
import mmap, os, sys
writes = sys.argv[2] == "w"
fd = os.open(sys.argv[1], os.O_RDWR if writes else os.O_RDONLY)
view = mmap.mmap(fd, 0, prot=mmap.PROT_READ | (mmap.PROT_WRITE if writes else 0))
if writes:
    view[5] = 65
print("ready", view[10], flush=True)
for line in sys.stdin:
    print(view[int(line)], flush=True)
"""


def soon(what):
    """Polls until it is true or the time is over."""
    end = time.monotonic() + SOON_S
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def reads(path, at, byte):
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), 1, at) == byte


def lines_about(said, path):
    with open(said, encoding="utf-8") as file:
        return [line for line in file if line.startswith(f"faultline: {path}: ")]


def one(directory, refused, mode):
    path = os.path.join(directory, f"{mode}-{len(refused)}")
    with open(path, "wb") as file:
        file.write(bytes(4 << 20))
    argv = [FAULTLINE, "run", "--memory", "16M", "--", PYTHON, "-c", HOLDER, path, mode]
    for number in refused:
        argv = [REFUSE, number, *argv]
    name = f"{mode}, refused {refused}"
    said = path + ".said"
    with open(said, "wb") as errors, subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
    ) as holder:
        holder.stdout.readline()

        def shows(at, byte):
            holder.stdin.write(b"%d\n" % at)
            holder.stdin.flush()
            return int(holder.stdout.readline()) == byte

        if mode == "w":
            check(soon(lambda: reads(path, 5, b"A")), f"{name}: what was stored is in the file")
        descriptor = os.open(path, os.O_WRONLY)
        os.pwrite(descriptor, b"B", 10)
        check(soon(lambda: shows(10, ord("B"))), f"{name}: what another process wrote is seen")
        # inotify does not say who opened the file: as long as it is open, /proc does.
        check(soon(lambda: lines_about(said, path)), f"{name}: it is said")
        os.close(descriptor)
        holder.stdin.close()
    lines = lines_about(said, path)
    check(len(lines) == 1 and "it is the kernel's from now on" in lines[0], f"{name}: said once: {lines}")


def main():
    directory = scratch()
    for refused in ([], [FANOTIFY_INIT]):
        for mode in ("w", "r"):
            one(directory, refused, mode)
    # Without either the program runs all the same.
    done = subprocess.run(
        [
            REFUSE,
            FANOTIFY_INIT,
            REFUSE,
            INOTIFY_INIT1,
            FAULTLINE,
            "run",
            "--memory",
            "16M",
            "--verbose",
            "--",
            PYTHON,
            "-c",
            HOLDER,
            os.path.join(directory, "w-0"),
            "r",
        ],
        input=b"10\n",
        capture_output=True,
        check=False,
        timeout=30,
    )
    check(
        done.returncode == 0
        and done.stdout.split() == [b"ready", b"66", b"66"]
        and b"noticed late" in done.stderr,
        "without fanotify and inotify: runs, and --verbose says so",
    )
    finish()


if __name__ == "__main__":
    sys.exit(main())
