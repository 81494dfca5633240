"""LMDB and SQLite are killed in the middle of their work, again and again, and recover each time by their own
means: all that was committed is there, nothing else is, and the next run continues from that.
"""

import hashlib
import signal
import time

from harness import *

MEMORY = 2 << 20
KILLS = 6
# What a turn changes, by its number alone: the killed program and the test's dictionary agree on it.
CHANGES = r"""
import random
def changes(turn):
    rng = random.Random(turn)
    for key in range(4500) if turn == 0 else (rng.randrange(4500) for _ in range(50)):
        yield key, rng.randbytes(rng.choice((50, 900, 3000, 12000))) if rng.random() > 0.1 else None
"""
# last(): the turn that the database is at. apply(turn). rows(): all of them. sound(): its own check.
LMDB = r"""
import lmdb
env = lmdb.open(path, map_size=256 << 20, writemap=mode == "writemap", max_dbs=2)
main, state = env.open_db(b"main"), env.open_db(b"state")
def last():
    with env.begin(db=state) as txn:
        return int(txn.get(b"turn", b"-1"))
def apply(turn):
    with env.begin(write=True) as txn:
        for key, value in changes(turn):
            name = b"%06d" % key
            txn.delete(name, db=main) if value is None else txn.put(name, value, db=main)
        txn.put(b"turn", b"%d" % turn, db=state)
def rows():
    with env.begin(db=main) as txn:
        for key, value in txn.cursor():
            yield int(key), value
def sound():
    with env.begin(db=main) as txn:
        return txn.stat()["entries"] == sum(1 for _ in txn.cursor())
"""
SQLITE = r"""
import sqlite3
db = sqlite3.connect(path + "/data", isolation_level=None)
for pragma in ("mmap_size=1000000000", "cache_size=30", "journal_mode=" + mode, "synchronous=full",
               "wal_autocheckpoint=100"):
    db.execute("pragma " + pragma)
db.execute("create table if not exists main (k integer primary key, v blob)")
db.execute("create table if not exists state (turn integer)")
def last():
    return db.execute("select max(turn) from state").fetchone()[0] if any(rows()) else -1
def apply(turn):
    db.execute("begin immediate")
    for key, value in changes(turn):
        if value is None:
            db.execute("delete from main where k = ?", (key,))
        else:
            db.execute("insert or replace into main values (?, ?)", (key, value))
    db.execute("delete from state")
    db.execute("insert into state values (?)", (turn,))
    db.execute("commit")
def rows():
    return db.execute("select k, v from main order by k")
def sound():
    return db.execute("pragma integrity_check").fetchone() == ("ok",)
"""
PROGRAM = r"""
import hashlib, os, sys
path, mode, turns = sys.argv[1], sys.argv[2], int(sys.argv[3])
%s
%s
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())
digest = hashlib.sha256()
for key, value in rows():
    digest.update(b"%%d " %% key + value)
say("opened", last(), digest.hexdigest(), sound())
for turn in range(last() + 1, last() + 1 + turns):
    apply(turn)
    say("committed", turn)
"""

directory = scratch()
changes = {}
exec(CHANGES, changes)
changes = changes["changes"]


class Model:
    """The database as it must be, turn by turn."""

    def __init__(self):
        self.turn, self.rows = -1, {}

    def digest(self, turn):
        """The database's turn must not be before the last committed one: no commit is undone."""
        while self.turn < turn:
            self.turn += 1
            for key, value in changes(self.turn):
                if value is None:
                    self.rows.pop(key, None)
                else:
                    self.rows[key] = value
        digest = hashlib.sha256()
        for key in sorted(self.rows):
            digest.update(b"%d " % key + self.rows[key])
        return digest.hexdigest()


def recovered(name, model, promised, line):
    """Checks a database that is opened after a kill; returns its turn, or None."""
    words = line.decode().split()
    if not check(len(words) == 4 and words[0] == "opened", f"{name}: opens again: {line!r}"):
        return None
    turn = int(words[1])
    good = turn in (promised, promised + 1) and words[2] == model.digest(turn) and words[3] == "True"
    check(good, f"{name}: {promised} was promised, turn {turn} is there: {line.split()[1:2]}")
    return turn if good else None


def kill_at(argv, lines, delay):
    """Kills the program `delay` seconds after so many lines; returns its complete lines, or None."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        said = [process.stdout.readline() for _ in range(lines)]
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
        error = process.stderr.read()
    name = f"killed {delay:.4f} s after {lines} lines"
    good = check(process.returncode == -signal.SIGKILL, f"{name} {error[-300:]!r}")
    return [line for line in said if line.endswith(b"\n")] if good else None


def killed(name, code, mode, engine, seed):
    """A native run and the next run under the limit take turns to recover."""
    rng, model = random.Random(seed), Model()
    path = os.path.join(directory, f"{name}-{mode}-{engine}")
    name = f"{name}, {mode}, {engine}, seed {seed}"
    os.mkdir(path)
    argv = [PYTHON, "-c", PROGRAM % (CHANGES, code), path, mode]
    limited = [FAULTLINE, "run", "--memory", str(MEMORY), "--fault", engine, "--", *argv]
    filled = under(MEMORY, [*argv, "3"], ["--fault", engine])
    if engine == "thread" and filled.status == 125:
        return
    size = sum(os.stat(os.path.join(path, file)).st_blocks * 512 for file in os.listdir(path))
    check(filled.status == 0 and size >= 8 * MEMORY, f"{name}: filled, {size} bytes {filled.err[-300:]!r}")
    promised = 2
    for kill in range(KILLS):
        lines, delay = rng.choice((0, 1, 1, 2, 3, 6, 13)), rng.random() * rng.choice((0.002, 0.05, 0.3))
        said = kill_at([*limited, "100000"], lines, delay)
        if said:
            promised = recovered(f"{name}, kill {kill}, itself", model, promised, said[0])
        if said is None or promised is None:
            return
        promised = max([promised] + [int(line.split()[1]) for line in said[1:]])
        if kill == KILLS - 1 or rng.random() < 0.5:
            look = Run([*argv, "0"]).out
            promised = recovered(f"{name}, kill {kill}, natively", model, promised, look)
            if promised is None:
                return


for number, (name, code, mode, engine) in enumerate(
    (
        ("lmdb", LMDB, "pwrite", "signal"),
        ("lmdb", LMDB, "writemap", "signal"),
        ("lmdb", LMDB, "writemap", "thread"),
        ("sqlite", SQLITE, "delete", "signal"),
        ("sqlite", SQLITE, "wal", "signal"),
        ("sqlite", SQLITE, "wal", "thread"),
    )
):
    first = int(os.environ.get("FAULTLINE_SEED", "1"))
    killed(name, code, mode, engine, first * 100 + number)
finish()
