"""LMDB, its database mapped and 8 × the limit: written by pwrite and through the mapping. A native run dumps
what a run under the limit wrote, and the reverse, and the files are equal byte for byte.
"""

from harness import *

MEMORY = 8 << 20
DATABASE = 8 * MEMORY
PROGRAM = r"""
import hashlib, lmdb, random, sys
path, mode, turns = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = {"pwrite": {}, "writemap": {"writemap": True}, "map_async": {"writemap": True, "map_async": True},
           "nosync": {"sync": False}}[mode]
random.seed(9)
env = lmdb.open(path, map_size=256 << 20, max_dbs=3, **options)
main, many = env.open_db(b"main"), env.open_db(b"many", dupsort=True)
for turn in range(turns):
    with env.begin(write=True) as txn:
        for i in range(700):
            value = random.randbytes(random.choice((20, 300, 900, 3000, 9000)))
            txn.put(random.randbytes(random.randint(4, 40)), value, db=main)
            if i % 3 == 0:
                txn.put(b"%03d" % random.randrange(500), random.randbytes(16), db=many)
        cursor = txn.cursor(main)
        for i in range(150):
            if not cursor.set_range(random.randbytes(2)):
                continue
            if i % 3 == 0:
                cursor.delete()
            else:
                txn.put(cursor.key(), random.randbytes(random.choice((10, 2000))), db=main)
        if turn % 5 == 4:
            txn.delete(b"%03d" % random.randrange(500), db=many)
    with env.begin() as txn:
        seen = hashlib.sha256()
        cursor = txn.cursor(main)
        cursor.set_range(random.randbytes(2))
        for n, (key, value) in zip(range(300), cursor):
            seen.update(key + value)
        print(turn, txn.stat(main)["entries"], txn.stat(many)["entries"], seen.hexdigest())
    if turn % 9 == 8:
        txn = env.begin(write=True)
        for n, (key, value) in zip(range(200), txn.cursor(main)):
            txn.put(key, b"aborted" * 1000, db=main)
        txn.abort()
env.sync(True)
env.close()
"""

directory = scratch()


def database(name):
    path = os.path.join(directory, name)
    os.makedirs(path, exist_ok=True)
    return path


def data(name):
    with open(os.path.join(directory, name, "data.mdb"), "rb") as file:
        return file.read()


def argv(name, mode, turns):
    return [PYTHON, "-c", PROGRAM, database(name), mode, str(turns)]


def written(mode, engine, part):
    """Writes under a limit: the output and the file must be those of the native run."""
    name, memory = f"{mode}-{engine}", MEMORY // part
    native = Run(argv(f"native-{name}", mode, 28 // part))
    size = os.stat(os.path.join(directory, f"native-{name}", "data.mdb")).st_blocks * 512
    check(native.status == 0 and size >= 8 * memory, f"lmdb, {mode}: {size} bytes {native.err[-300:]!r}")
    run = under(memory, argv(name, mode, 28 // part), ["--fault", engine])
    if engine == "thread" and run.status == 125:
        return
    same(f"lmdb, {mode}, {engine}", native, run, memory, size)
    check(data(name) == data(f"native-{name}"), f"lmdb, {mode}, {engine}: the same file")
    dump = Run(["mdb_dump", "-a", database(name)])
    expected = Run(["mdb_dump", "-a", database(f"native-{name}")])
    good = dump.status == 0 and dump.out == expected.out
    check(good, f"lmdb, {mode}, {engine}: dumped natively, {len(dump.out)} bytes")
    shutil.rmtree(database(name))


def tools(engine):
    """LMDB's own tools, under a limit, dump the database that a native run wrote, and load it again."""
    source, memory = database("native-pwrite-signal"), ["--fault", engine]
    size = len(data("native-pwrite-signal"))
    for tool in (["mdb_dump", "-a"], ["mdb_stat", "-a", "-e", "-f", "-r"]):
        native = Run([*tool, source])
        run = under(MEMORY, [*tool, source], memory)
        if engine == "thread" and run.status == 125:
            return
        # A stat reads the inner pages only.
        same(f"{' '.join(tool)}, {engine}", native, run, MEMORY, size if "mdb_dump" in tool else 0)
    for tool in (["mdb_copy"], ["mdb_copy", "-c"]):
        native = Run([*tool, source, database("copy-native")])
        run = under(MEMORY, [*tool, source, database("copy")], memory)
        same(f"{' '.join(tool)}, {engine}", native, run, MEMORY, size)
        check(data("copy") == data("copy-native"), f"{' '.join(tool)}, {engine}: the same file")
        shutil.rmtree(database("copy"))
        shutil.rmtree(database("copy-native"))


def loaded():
    """mdb_load appends in several transactions, through a mapping of its own."""
    dump = Run(["mdb_dump", "-s", "main", database("native-pwrite-signal")])
    for name, start in (("load-native", Run), ("load", lambda argv, **more: under(MEMORY, argv, **more))):
        run = start(["mdb_load", "-s", "main", database(name)], input=dump.out)
        check(run.status == 0, f"{name}: status {run.status} {run.err[-300:]!r}")
    check(run.stats is not None and run.stats["peak_resident_bytes"] <= MEMORY, "load: limit kept")
    check(data("load") == data("load-native"), "load: the same file")


written("pwrite", "signal", 1)
written("writemap", "signal", 1)
written("map_async", "signal", 4)
written("nosync", "signal", 4)
written("pwrite", "thread", 2)
written("writemap", "thread", 4)
tools("signal")
tools("thread")
loaded()
finish()
