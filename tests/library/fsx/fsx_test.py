"""fsx_test.py COMMAND…: runs fsx, the command, with one seed after the other, for some seconds. The file that
it leaves must match its model, as the kernel sees the file. A run that fails is shortened, operation by
operation.

FAULTLINE_SEED: the first seed; FAULTLINE_SECONDS: for how long.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

COMMAND = sys.argv[1:]
SECONDS = float(os.environ.get("FAULTLINE_SECONDS", "8"))
SHRINK_SECONDS = 60
TIMEOUT_S = 60
NO_ENGINE = 125  # faultline run: this engine cannot be had here


def started(arguments):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=TIMEOUT_S, check=False)


def attempt(directory, arguments):
    """None if the run succeeded, else what went wrong."""
    path = os.path.join(directory, "file")
    try:
        done = started([*arguments, path])
    except subprocess.TimeoutExpired:
        return f"it hangs: more than {TIMEOUT_S} s"
    if done.returncode == NO_ENGINE:
        print("the engine cannot be had here", done.stderr.decode())
        sys.exit(0)
    if done.returncode != 0:
        last = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-8:]
        return f"status {done.returncode}: " + "\n".join(last)
    with open(path, "rb") as file, open(path + ".model", "rb") as model:
        return None if file.read() == model.read() else "the file that it leaves is not as the model is"


def shortened(directory, arguments, error):
    """A shorter list of operations that still fails, and its failure: leaves out halves, then quarters, and
    so on, as long as it still fails.
    """
    path, until = os.path.join(directory, "only"), time.monotonic() + SHRINK_SECONDS
    last = re.search(r"operation (\d+)", error)
    operations = list(range(1, int(last.group(1)) + 1 if last and int(last.group(1)) else 2001))

    def fails(some):
        with open(path, "w", encoding="ascii") as file:
            file.write(" ".join(map(str, some)))
        return attempt(directory, [*arguments, "--only", path])

    error = fails(operations)
    if error is None:
        return None, "it does not fail again"
    piece = len(operations) // 2
    while piece > 0 and time.monotonic() < until:
        start = 0
        while start < len(operations) and time.monotonic() < until:
            fewer = operations[:start] + operations[start + piece :]
            again = fails(fewer) if fewer else None
            if again is None:
                start += piece
            else:
                operations, error = fewer, again
        piece //= 2
    return operations, error


def failed(directory, arguments, error):
    print("FAIL ", *COMMAND, *arguments, "\n", error, flush=True)
    operations, error = shortened(directory, arguments, error)
    print("shortened:", error)
    if operations is not None:
        only, path = os.path.join(directory, "only"), os.path.join(directory, "file")
        print("only these:", *operations)
        with open(only, "w", encoding="ascii") as file:
            file.write(" ".join(map(str, operations)))
        print(started([*arguments, "--only", only, "--verbose", path]).stdout.decode(errors="replace"))
    sys.exit(1)


def main():
    directory = tempfile.mkdtemp(prefix="fsx-", dir=os.getcwd())  # a real file system
    seed, until = int(os.environ.get("FAULTLINE_SEED", "1")), time.monotonic() + SECONDS
    first = seed
    try:
        while seed == first or time.monotonic() < until:
            arguments = ["--seed", str(seed)]
            if seed % 2 == 0:
                arguments.append("--sync")
            if seed % 4 >= 2:
                arguments.append("--noise")
            error = attempt(directory, arguments)
            if error is not None:
                failed(directory, arguments, error)
            seed += 1
    finally:
        shutil.rmtree(directory, True)
    print(f"seeds {first} to {seed - 1}")


main()
