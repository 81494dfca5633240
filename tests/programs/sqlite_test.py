"""SQLite with its database mapped and 8 × the limit: it reads through the mapping and writes by pwrite, and
both must show the same bytes.
"""

from harness import *

MEMORY = 4 << 20
PROGRAM = r"""
import hashlib, random, sqlite3, sys
path, journal, turns, vacuum = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "vacuum"
random.seed(5)

def opened():
    db = sqlite3.connect(path)
    for pragma in ("mmap_size=1000000000", "cache_size=50", "journal_mode=" + journal,
                   "wal_autocheckpoint=300"):
        db.execute("pragma " + pragma)
    return db

db = opened()
print(db.execute("pragma mmap_size").fetchone())
db.execute("create table t (a integer primary key, b text, c blob)")
db.execute("create index i on t (b)")
top = 0
for turn in range(turns):
    if turn == 3:
        db.close()
        db = opened()
    rows = [(str(random.random()), random.randbytes(random.choice((90, 900, 9000)))) for _ in range(1600)]
    db.executemany("insert into t (b, c) values (?, ?)", rows)
    db.commit()
    top += len(rows)
    db.execute("update t set b = b || 'x' where a % 7 = ?", (turn % 7,))
    for _ in range(200):
        blob = random.randbytes(random.randrange(3000))
        db.execute("update t set c = ? where a = ?", (blob, random.randrange(top)))
    db.execute("delete from t where a % 31 = ?", (turn,))
    if turn % 4 == 2:
        db.rollback()
    db.commit()
    print(db.execute("select count(*), sum(length(b)), sum(length(c)) from t").fetchone())
if vacuum:
    db.execute("delete from t where a % 3 = 0")
    db.commit()
    db.execute("vacuum")
print(db.execute("pragma integrity_check").fetchone())
rows = hashlib.sha256()
for row in db.execute("select * from t order by b"):
    rows.update(repr(row).encode())
print(rows.hexdigest())
db.close()
print(hashlib.sha256(open(path, "rb").read()).hexdigest())
"""

directory = scratch()


def argv(name, *how):
    return [PYTHON, "-c", PROGRAM, os.path.join(directory, name), *how]


def written(journal, vacuum, turns, runs):
    """The output, which includes the file's digest, must be that of the native run; keeps the file for the
    tool.
    """
    turns = str(turns)
    base = os.path.join(directory, f"{journal}-native")
    native = Run(argv(f"{journal}-native", journal, turns, vacuum))
    size = os.path.getsize(base) if os.path.exists(base) else 0
    check(native.status == 0, f"sqlite, {journal}, natively {native.err[-300:]!r}")
    check(size >= 8 * min(memory for memory, _ in runs), f"sqlite, {journal}: {size} bytes")
    for memory, engine in runs:
        name = f"{journal}-{memory}-{engine}"
        run = under(memory, argv(name, journal, turns, vacuum), ["--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        same(f"sqlite, {journal}, {engine}, {memory >> 20}M", native, run, memory, size)
        os.unlink(os.path.join(directory, name))


# Nothing is synced, so they agree only if both see the same pages.
TWO = r"""
import random, sqlite3, sys
random.seed(6)
one, two = sqlite3.connect(sys.argv[1], isolation_level=None), sqlite3.connect(sys.argv[1], isolation_level=None)
one.execute("create table t (a integer primary key, b blob)")
for db in (one, two):
    for pragma in ("mmap_size=1000000000", "cache_size=10", "synchronous=off"):
        db.execute("pragma " + pragma)
for turn in range(120):
    first, second = (one, two) if turn % 2 else (two, one)
    first.execute("begin")
    for _ in range(25):
        row = (random.randrange(3000), random.randbytes(random.choice((50, 4000, 9000))))
        first.execute("insert or replace into t values (?, ?)", row)
    first.execute("commit")
    for db in (second, first):
        print(turn, db.execute("select count(*), sum(length(b)), max(b) from t").fetchone())
print(one.execute("pragma integrity_check").fetchone(), two.execute("pragma integrity_check").fetchone())
"""


def two_connections():
    """Both connections map the database while it is small, and their mappings grow with it."""
    native = Run([PYTHON, "-c", TWO, os.path.join(directory, "two-native")])
    for memory, engine in ((1 << 20, "signal"), (2 << 20, "thread")):
        path = os.path.join(directory, f"two-{engine}")
        run = under(memory, [PYTHON, "-c", TWO, path], ["--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        same(f"sqlite, two connections, {engine}", native, run, memory)
        dump = Run(["sqlite3", path, ".dump"]), Run(
            ["sqlite3", os.path.join(directory, "two-native"), ".dump"]
        )
        check(dump[0].out == dump[1].out, f"sqlite, two connections, {engine}: the same rows")


def dumped():
    """SQLite's tool dumps what a native run wrote, and loads it again, both under a limit."""
    base, copy = os.path.join(directory, "wal-native"), os.path.join(directory, "copy")
    tool = ["sqlite3", "-cmd", "pragma mmap_size=1000000000", "-cmd", "pragma cache_size=50"]
    native = Run([*tool, base, ".dump"])
    run = under(MEMORY, [*tool, base, ".dump"])
    same("sqlite3 .dump", native, run, MEMORY, os.path.getsize(base))
    more = {"input": b"pragma mmap_size=1000000000;\n" + native.out[native.out.index(b"PRAGMA") :]}
    Run([*tool, copy + "-native"], **more)
    run = under(MEMORY, [*tool, copy], **more)
    check(run.status == 0, f"sqlite3 reads a dump: {run.status} {run.err[-300:]!r}")
    again = Run([*tool, copy, ".dump"])
    check(again.status == 0 and again.out == native.out, f"sqlite3: the dump again, {len(again.out)} bytes")


written("delete", "vacuum", 6, [(2 << 20, "signal")])
written("wal", "no", 8, [(MEMORY, "signal"), (2 << 20, "thread")])
written("truncate", "no", 4, [(2 << 20, "thread")])
two_connections()
dumped()
finish()
