"""SQLite with its database mapped: it reads through the mapping and writes by pwrite, and both must see one file."""

from harness import *

PROGRAM = r"""
import hashlib, random, sqlite3, sys
random.seed(5)
db = sqlite3.connect(sys.argv[1])
for pragma in ("mmap_size=1000000000", "cache_size=50", "journal_mode=" + sys.argv[2]):
    db.execute("pragma " + pragma)
db.execute("create table t (a integer primary key, b text, c blob)")
for turn in range(8):
    db.executemany("insert into t (b, c) values (?, ?)",
                   ((str(random.random()), random.randbytes(900)) for _ in range(2000)))
    db.execute("update t set b = b || 'x' where a % 7 = ?", (turn % 7,))
    db.execute("delete from t where a % 11 = ?", (turn % 11,))
    db.commit()
    print(db.execute("select count(*), sum(length(b)), sum(length(c)) from t").fetchone())
db.execute("create index i on t (b)")
print(db.execute("pragma integrity_check").fetchone())
rows = hashlib.sha256()
for row in db.execute("select * from t order by b"):
    rows.update(repr(row).encode())
print(rows.hexdigest())
db.close()
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())
"""

directory = scratch()
for journal in ("delete", "wal"):
    def argv(name):
        return [PYTHON, "-c", PROGRAM, os.path.join(directory, f"{journal}-{name}"), journal]

    native = Run(argv("native"))
    check(native.status == 0, f"sqlite, {journal}, natively {native.err[-300:]!r}")
    for memory in (2 << 20, 8 << 20):
        run = under(memory, argv(str(memory)))
        same(f"sqlite, {journal}, with {memory >> 20}M", native, run, memory)
        if journal == "wal" and run.stats is not None:
            check(run.stats["page_ins"] > 0, f"sqlite, {journal}: the database was mapped")
finish()
