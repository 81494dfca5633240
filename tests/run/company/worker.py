"""worker.py KIND PATH NAME ROLE SEED TURNS SYNCED FILL WRITERS KILLED FD…: one of the processes that share a
database.

A writer commits TURNS turns, and says "NAME TURN" after each, on standard output and to each FD, where the
readers listen. A reader reads such lines on standard input, until there are no more; what a line promises
must be in the database at once. KILLED: the writer that will be killed, or "-".

Exit status 1 and a line "wrong: …" on standard error: something was not as it must be.
"""

import os
import random
import sys

from databases import opened
from records import Writer, fill_key, fill_value, wrong

KIND, PATH, NAME, ROLE = sys.argv[1:5]
SEED, TURNS, SYNCED, FILL = (int(word) for word in sys.argv[5:9])
WRITERS = {name: Writer(SEED, name) for name in sys.argv[9]}
KILLED = sys.argv[10]
TELL = [int(word) for word in sys.argv[11:]]

rng = random.Random(f"{SEED}/{NAME}/worker")
promised = {}


def fail(what):
    os.write(2, f"wrong: {NAME} ({ROLE}): {what}\n".encode())
    os._exit(1)


def look(txn):
    """Checks a snapshot, and some of the ballast."""
    error = wrong(txn, WRITERS, promised, undone=KILLED if KIND.startswith("lmdb") else None)
    if error is not None:
        fail(error)
    for number in rng.sample(range(FILL), min(FILL, 8)):
        if txn.get(fill_key(number)) != fill_value(number):
            fail(f"ballast {number} is not what it was")


def told(line):
    name, turn = line.split()
    promised[name] = max(promised.get(name, -1), int(turn))


def tell(line):
    """A busy reader misses a line; the next line tells it more."""
    for fd in TELL:
        try:
            os.write(fd, line)
        except (BlockingIOError, BrokenPipeError):
            pass


def write(database):
    own = Writer(SEED, NAME)
    for turn in range(TURNS):
        if rng.random() < 0.05 and KILLED == "-":
            database.close()
            database = opened(KIND, PATH, bool(SYNCED))
        if rng.random() < 0.3:
            with database.read() as txn:
                look(txn)
        with database.write() as txn:
            if rng.random() < 0.2:
                look(txn)
            for key, value in own.advance():
                txn.delete(key) if value is None else txn.put(key, value)
            txn.put(b"turn/%s" % own.name, b"%d" % turn)
            txn.put(b"count", b"%d" % (int(txn.get(b"count", b"0")) + 1))
        promised[NAME] = turn
        line = b"%s %d\n" % (own.name, turn)
        tell(line)
        os.write(1, line)
    return database


def read(database):
    for line in sys.stdin:
        told(line)
        with database.read() as txn:
            look(txn)
    return database


database = opened(KIND, PATH, bool(SYNCED))
os.write(1, b"ready\n")
database = write(database) if ROLE == "writer" else read(database)
database.close()
