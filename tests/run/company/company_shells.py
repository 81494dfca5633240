"""company_shells.py: two to four processes of SQLite's command-line tool on one database, with mmap_size set.

    shells/MODE/MIXTURE/LIMIT/MINSIZE

In each round some of them write at the same moment; then all of them count, and must get the same result at
once.
"""

import itertools
import sqlite3
import subprocess

from company_databases import LIMITS, MIN_SIZES, MIXTURES
from scene import Wrong, scenario

MODES = ("wal", "delete", "truncate")
COUNT = "select 'counted', count(*), sum(length(b)), (select n from counter) from t;"


class Shell:
    def __init__(self, scene, under, path, mode):
        self.scene, self.added = scene, 0
        commands = [
            ".timeout 30000",
            "pragma mmap_size=1000000000",
            "pragma cache_size=10",
            f"pragma journal_mode={mode}",
            "pragma wal_autocheckpoint=20",
            f"pragma synchronous={scene.rng.choice(('off', 'normal', 'full'))}",
        ]
        argv = ["sqlite3", "-batch", "-bail"]
        for command in commands:
            argv += ["-cmd", command]
        self.process = scene.start([*argv, path], under, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, text):
        self.process.popen.stdin.write(text.encode() + b"\n")
        self.process.popen.stdin.flush()

    def answer(self, word):
        """The line that begins with the word; those before it are the pragmas'."""
        while True:
            line = self.process.popen.stdout.readline().decode()
            self.scene.in_time()
            if not line:
                raise Wrong(f"a shell ended: {self.process.stderr()[-300:]}")
            if line.startswith(word):
                return [int(number) for number in line.strip().split("|")[1:]]


def played(scene, mode, mixture, limit, min_size):
    rng, path = scene.rng, scene.path("data")
    memory, ballast = LIMITS[limit]
    under = {"memory": memory, "min_size": MIN_SIZES[min_size], "engine": rng.choice((None, None, "thread"))}
    with sqlite3.connect(path) as db:
        db.execute("pragma synchronous=off")
        db.execute(f"pragma journal_mode={mode}")
        db.execute("create table t (a integer primary key, b text)")
        db.execute("create table counter (n integer)")
        db.execute("insert into counter values (0)")
        db.execute("create table ballast (c blob)")
        db.executemany(
            "insert into ballast values (?)", ((rng.randbytes(3000),) for _ in range(ballast // 4000))
        )
    db.close()
    order = rng.sample(mixture, len(mixture))
    scene.say(f"{''.join(order)} {under}")
    shells = [Shell(scene, under if place == "F" else None, path, mode) for place in order]
    rows = letters = 0
    for turn in range(15 if scene.options.short else 30):
        writers = rng.sample(shells, rng.randint(1, len(shells)))
        for shell in writers:
            some, length = rng.choice((1, 3, 20)), rng.choice((5, 300, 3000))
            inserts = f"insert into t (b) values ('{'x' * length}');" * some
            shell.send(
                f"begin immediate; update counter set n = n + 1; {inserts} commit; select 'committed|1';"
            )
            rows, letters = rows + some, letters + some * length
            shell.added += 1
        for shell in writers:
            shell.answer("committed")
        readers = rng.sample(shells, rng.randint(1, len(shells)))
        for shell in readers:
            shell.send(COUNT)
        expected = [rows, letters, sum(shell.added for shell in shells)]
        for shell in readers:
            found = shell.answer("counted")
            if found != expected:
                raise Wrong(
                    f"turn {turn}: a shell counts {found}, and not {expected} (rows, letters, commits)"
                )
    for shell in shells:
        shell.process.popen.stdin.close()
        if shell.process.wait() != 0:
            raise Wrong(f"a shell's status: {shell.process.stderr()[-300:]}")
    with sqlite3.connect(path) as db:
        sound = db.execute("pragma integrity_check").fetchall()
        found = db.execute(COUNT).fetchone()[1:]
    db.close()
    if sound != [("ok",)] or list(found) != expected:
        raise Wrong(f"at the end: {sound[:2]}, {found}, and not {expected} (rows, letters, commits)")


SHORT = {
    ("wal", "FF", "2M", "default"),
    ("delete", "FF", "2M", "min0"),
    ("truncate", "FFN", "16M", "default"),
    ("wal", "FN", "2M", "min0"),
}
for _how in itertools.product(MODES, MIXTURES, LIMITS, MIN_SIZES):
    scenario("shells/" + "/".join(_how), args=_how, seconds=60, short=_how in SHORT)(played)
