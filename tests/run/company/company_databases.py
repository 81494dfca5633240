"""company_databases.py: LMDB and SQLite shared by two to four processes, each under Faultline (F) or natively
(N), in every mixture, under limits below and above the data, with every mapping managed and with the
default. Names:

    databases/KIND/MIXTURE/LIMIT/MINSIZE      databases/lmdb-writemap/FFN/2M/min0
    killed/…                                    one process is killed; every acknowledged commit is there
"""

import itertools
import os
import shutil
import subprocess

from databases import KINDS, opened
from records import FILL_BYTES, Writer, fill_key, fill_value, wrong
from scene import HERE, PYTHON, Wrong, scenario, wait_until

MIXTURES = [
    "".join(mix) for n in (2, 3, 4) for mix in itertools.combinations_with_replacement("FN", n) if "F" in mix
]
# The limit, and how much ballast the database has: less than the data, and more.
LIMITS = {"2M": ("2M", 5 << 20), "16M": ("16M", 24 << 20), "more": ("64M", 5 << 20)}
MIN_SIZES = {"min0": 0, "default": None}


def template(scene, kind, fill):
    """A database with ballast, made once for each kind and size, natively."""
    directory = os.path.join(os.getcwd(), f"company-template-{os.getpid()}")
    path = os.path.join(directory, f"{kind}-{fill}")
    with scene.options.lock:
        if not os.path.exists(path):
            os.makedirs(path)
            database = opened(kind, path, synced=False)
            with database.write() as txn:
                for number in range(fill):
                    txn.put(fill_key(number), fill_value(number))
            database.close()
    shutil.copytree(path, scene.path("db"))
    lock = scene.path("db/lock.mdb")
    if os.path.exists(lock) and scene.rng.random() < 0.5:
        os.unlink(lock)  # the first to come makes it anew


def roles(rng, count, most):
    """Draws roles: at least one writer, and at most so many; mostly a reader too."""
    while True:
        drawn = [rng.choice(("writer", "writer", "reader")) for _ in range(count)]
        if 0 < drawn.count("writer") <= most:
            return drawn


class Worker:
    def __init__(self, name, role, process, said):
        self.name, self.role, self.process, self.said = name, role, process, said

    def lines(self):
        with open(self.said, "rb") as file:
            return [line for line in file.read().split(b"\n")[:-1]]

    def come(self, lines):
        """Waits until it has printed so many lines, or has ended."""
        return len(self.lines()) >= lines or self.process.popen.poll() is not None

    def acknowledged(self):
        """The last turn that it reported as committed."""
        turns = [int(line.split()[1]) for line in self.lines() if line != b"ready"]
        return turns[-1] if turns else -1


def cast(scene, kind, mixture, under, synced, fill, turns, kill):
    """Starts the workers: all at once, or each when the one before has committed some turns."""
    rng = scene.rng
    order = rng.sample(mixture, len(mixture))
    # Of three that wait for glibc's robust mutex, one that is killed may take the wake-up of another with it.
    drawn = roles(rng, len(order), 2 if kill and kind.startswith("lmdb") else len(order))
    names = "abcd"[: len(order)]
    writers = "".join(name for name, role in zip(names, drawn) if role == "writer")
    victim = rng.choice(writers) if kill else "-"
    ears = {name: os.pipe() for name, role in zip(names, drawn) if role == "reader"}
    for _, mouth in ears.values():
        os.set_blocking(mouth, False)
    scene.say(f"{''.join(order)} {drawn} synced={synced} turns={turns} {under}")
    workers = []
    try:
        for name, role, place in zip(names, drawn, order):
            if workers and rng.random() < 0.5:
                one, lines = rng.choice(workers), rng.randint(1, 6)
                wait_until(scene, lambda: one.role == "reader" or one.come(lines))
            tell = [str(mouth) for _, mouth in ears.values()] if role == "writer" else []
            argv = [
                PYTHON,
                "-B",
                os.path.join(HERE, "worker.py"),
                kind,
                scene.path("db"),
                name,
                role,
                scene.seed,
                turns,
                int(synced),
                fill,
                writers,
                victim,
                *tell,
            ]
            said = scene.path(f"said.{name}")
            with open(said, "wb") as out:
                process = scene.start(
                    [str(word) for word in argv],
                    under if place == "F" else None,
                    stdout=out,
                    stdin=ears[name][0] if role == "reader" else subprocess.DEVNULL,
                    pass_fds=[int(fd) for fd in tell],
                )
            workers.append(Worker(name, role, process, said))
    finally:
        for pair in ears.values():
            for fd in pair:
                os.close(fd)
    return workers, writers, victim


def verify(scene, kind, writers, least, exactly, fill):
    """Checks natively, in this process: nothing is lost, every record is right, and the database's own check
    passes.
    """
    database = opened(kind, scene.path("db"))
    models = {name: Writer(scene.seed, name) for name in writers}
    with database.read() as txn:
        error = wrong(txn, models, least)
        if error is not None:
            raise Wrong(f"at the end: {error}")
        for name, model in models.items():
            if exactly.get(name) not in (None, model.turn) or model.turn > least[name] + 1:
                raise Wrong(f"at the end: turn {model.turn} of {name}, which said {least[name]}")
        for number in range(fill):
            if txn.get(fill_key(number)) != fill_value(number):
                raise Wrong(f"at the end: ballast {number} is not what it was")
    error = database.sound()
    database.close()
    if error is not None:
        raise Wrong(f"at the end: {error}")


def shared(scene, kind, mixture, limit, min_size, kill):
    memory, data = LIMITS[limit]
    fill = data // (FILL_BYTES + FILL_BYTES // 3)
    engine = scene.rng.choice((None, None, None, "thread"))
    under = {"memory": memory, "min_size": MIN_SIZES[min_size], "engine": engine}
    synced = kill or scene.rng.random() < 0.3
    template(scene, kind, fill)
    turns = scene.rng.choice((40, 100, 150))
    workers, writers, victim = cast(scene, kind, mixture, under, synced, fill, turns, kill)
    killed = None
    if kill:
        killed = next(worker for worker in workers if worker.name == victim)
        lines, delay = scene.rng.randint(1, turns - 10), scene.rng.random() * scene.rng.choice(
            (0.0005, 0.005)
        )
        wait_until(scene, lambda: killed.come(lines), 0.0005)
        scene.pause(delay)
        killed.process.kill()
    for worker in workers:
        status = worker.process.wait()
        if status != 0 and not (worker is killed and status == -9):
            raise Wrong(f"{worker.name}, a {worker.role}: status {status}")
    least = {worker.name: worker.acknowledged() for worker in workers if worker.role == "writer"}
    exactly = {name: turns - 1 for name in writers if killed is None or name != killed.name}
    verify(scene, kind, writers, least, exactly, fill)


# The short form has two processes and three, one limit of each sort, and few of all the combinations.
SHORT = {
    ("lmdb-pwrite", "FF", "2M", "default"),
    ("lmdb-writemap", "FFN", "2M", "min0"),
    ("lmdb-writemap", "FN", "more", "default"),
    ("sqlite-wal", "FF", "2M", "min0"),
    ("sqlite-wal", "FN", "more", "default"),
    ("sqlite-delete", "FFN", "2M", "default"),
    ("sqlite-truncate", "FF", "2M", "min0"),
    ("sqlite-delete", "FN", "16M", "default"),
}


def register():
    for kind, mixture, limit, min_size in itertools.product(KINDS, MIXTURES, LIMITS, MIN_SIZES):
        name = f"{kind}/{mixture}/{limit}/{min_size}"
        how = (kind, mixture, limit, min_size)
        scenario("databases/" + name, (*how, False), seconds=60, short=how in SHORT)(shared)
        if limit == "2M":
            scenario("killed/" + name, (*how, True), seconds=60, short=how in SHORT)(shared)


register()
