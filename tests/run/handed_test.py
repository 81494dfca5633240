"""handed.c: a file is handed over to the kernel while threads store to all its mappings, read and write it,
change its mappings and sleep on futexes in it: nothing is lost, no call fails, and no thread sleeps for
ever. Once because another process opens it, once because the process forks.
"""

import os
import subprocess
import sys
import time

from harness import CALLS, FAULTLINE, check, finish, scratch

HANDED = os.path.join(os.path.dirname(CALLS), "handed")
SECONDS = "1.2"
PATIENCE_S = 30


def one(path, engine, memory, how):
    """With handler threads, system calls of the program can meet the hand-over (docs/run.md), so it makes
    none.
    """
    argv = [
        FAULTLINE,
        "run",
        "--memory",
        memory,
        "--fault",
        engine,
        "--",
        HANDED,
        path,
        SECONDS,
        how,
        "calls" if engine == "signal" else "no-calls",
    ]
    name = f"{engine}, {memory}, {how}"
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        try:
            program.stdout.readline()
            time.sleep(0.3)
            if how == "opened":
                with open(path, "rb") as file:
                    file.read(1)
            _, said = program.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            program.kill()
            _, said = program.communicate()
            said += b" (too late)"
    check(program.returncode == 0, f"{name}: status {program.returncode} {said.decode()[-300:]!r}")
    check((b"it is the kernel's from now on" in said) == (how == "opened"), f"{name}: said")


def main():
    directory = scratch()
    native = subprocess.run(
        [HANDED, os.path.join(directory, "native"), "0.5", "forks", "calls"],
        check=False,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE_S,
    )
    check(native.returncode == 0, f"natively: {native.returncode}")
    for number, (engine, memory) in enumerate([("signal", "8M"), ("signal", "64M"), ("thread", "16M")]):
        for how in ("opened", "forks"):
            one(os.path.join(directory, f"{number}-{how}"), engine, memory, how)
    finish()


if __name__ == "__main__":
    sys.exit(main())
