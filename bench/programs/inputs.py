"""The input files of the programs: each is made once, at the size asked for, and always with the same bytes.

A function takes the path to make and about how many bytes it shall have.
"""

import os
import random
import shutil
import sqlite3
import subprocess

TEXT_BLOCK = 1 << 20
LMDB_VALUE, SQLITE_VALUE, GIT_BLOB = 4000, 1000, 2_000_000


def integers(path, size):
    """Random integers of 64 bits."""
    import numpy

    source = numpy.random.default_rng(1)
    with open(path, "wb") as file:
        for done in range(0, size, TEXT_BLOCK):
            file.write(source.bytes(min(TEXT_BLOCK, size - done)))


def text(path, size):
    """Lines of random words, one line in a block with a needle. Every second block repeats an earlier one."""
    import numpy

    source = numpy.random.default_rng(2)
    letters = source.integers(ord("a"), ord("z") + 1, (3000, 8), dtype=numpy.uint8)
    letters[:, 7] = ord(" ")
    letters[::9, 7] = ord("\n")
    blocks = []
    with open(path, "wb") as file:
        for number in range(size // TEXT_BLOCK):
            if number > 8 and number % 2:
                words = blocks[source.integers(0, number - 8)]
            else:
                words = source.integers(0, len(letters), TEXT_BLOCK // 8 - 4, dtype=numpy.uint16)
            blocks.append(words)
            file.write(letters[words].tobytes() + b"\nneedle %06d in the hay .......\n" % number)


def lmdb_database(path, size):
    """Values of almost a page each, in the order of their keys."""
    import lmdb

    source = random.Random(1)
    with lmdb.open(path, map_size=2 * size + (1 << 20), subdir=False) as env, env.begin(write=True) as txn:
        for number in range(size // (LMDB_VALUE + 128)):
            txn.put(b"%08d" % number, source.randbytes(LMDB_VALUE), append=True)
    os.unlink(path + "-lock")


def sqlite_database(path, size):
    source = random.Random(1)
    db = sqlite3.connect(path)
    db.execute("pragma journal_mode=off")
    db.execute("create table t (id integer primary key, value blob)")
    rows = ((source.randbytes(SQLITE_VALUE),) for _ in range(size // (SQLITE_VALUE + 24)))
    db.executemany("insert into t (value) values (?)", rows)
    db.commit()
    db.close()


def git_repository(path, size):
    """Two packs of files that hardly compress, a commit each."""
    source = random.Random(3)
    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    subprocess.run(["git", "-C", path, "config", "core.compression", "0"], check=True)
    argv = ["git", "-C", path, "fast-import", "--quiet", f"--max-pack-size={max(size // 2, 2 << 20)}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as importer:
        for i in range(1, size // GIT_BLOB + 1):
            head = b"commit refs/heads/main\nmark :%d\ncommitter A <a@b> %d +0000\ndata 0\n" % (
                i,
                1700000000 + i,
            )
            head += b"from :%d\n" % (i - 1) if i > 1 else b""
            importer.stdin.write(head + b"M 100644 inline f%d\ndata %d\n" % (i % 7, GIT_BLOB))
            importer.stdin.write(source.randbytes(GIT_BLOB) + b"\n")
        importer.stdin.close()
        if importer.wait() != 0:
            raise RuntimeError("git fast-import failed")


def made(make, size, folder):
    """The path of the input. It is made under another name first, so that no unfinished one is used."""
    path = os.path.join(folder, f"{make.__name__}.{size >> 20}M")
    if not os.path.exists(path):
        unfinished = path + ".unfinished"
        if os.path.isdir(unfinished):
            shutil.rmtree(unfinished)
        elif os.path.exists(unfinished):
            os.unlink(unfinished)
        make(unfinished, size)
        os.rename(unfinished, path)
    return path
