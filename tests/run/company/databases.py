"""databases.py: one interface to the databases that processes share in the tests: LMDB and SQLite as a store
of keys and values with transactions.

    opened(kind, path, synced)     kind: one of KINDS
        .write()      a context: a write transaction with get, prefix, put, delete; committed when it is left
        .read()       a context: a snapshot with get and prefix
        .sound()      what the database's own check says: None, or what is wrong
        .close()
"""

import contextlib
import os
import time

KINDS = ("lmdb-pwrite", "lmdb-writemap", "sqlite-wal", "sqlite-delete", "sqlite-truncate")
MAP_BYTES = 256 << 20
BUSY_SECONDS = 30


def opened(kind, path, synced=True):
    family, mode = kind.split("-")
    return Lmdb(path, mode, synced) if family == "lmdb" else Sqlite(path, mode, synced)


class LmdbTransaction:
    def __init__(self, txn):
        self.txn = txn

    def get(self, key, default=None):
        return self.txn.get(key, default)

    def prefix(self, prefix):
        cursor = self.txn.cursor()
        if cursor.set_range(prefix):
            for key, value in cursor:
                if not key.startswith(prefix):
                    return
                yield key, value

    def put(self, key, value):
        self.txn.put(key, value)

    def delete(self, key):
        self.txn.delete(key)


class Lmdb:
    def __init__(self, path, mode, synced):
        import lmdb

        self.env = lmdb.open(path, map_size=MAP_BYTES, writemap=mode == "writemap", sync=synced)
        self.env.reader_check()

    @contextlib.contextmanager
    def write(self):
        with self.env.begin(write=True) as txn:
            yield LmdbTransaction(txn)

    @contextlib.contextmanager
    def read(self):
        with self.env.begin() as txn:
            yield LmdbTransaction(txn)

    def sound(self):
        with self.env.begin() as txn:
            entries, walked = txn.stat()["entries"], sum(1 for _ in txn.cursor())
        return None if entries == walked else f"{entries} entries, {walked} are found"

    def close(self):
        self.env.close()


class SqliteTransaction:
    def __init__(self, db):
        self.db = db

    def get(self, key, default=None):
        row = self.db.execute("select v from kv where k = ?", (key,)).fetchone()
        return default if row is None else row[0]

    def prefix(self, prefix):
        return self.db.execute(
            "select k, v from kv where k >= ? and k < ?", (prefix, prefix + b"\xff")
        ).fetchall()

    def put(self, key, value):
        self.db.execute("insert or replace into kv values (?, ?)", (key, value))

    def delete(self, key):
        self.db.execute("delete from kv where k = ?", (key,))


class Sqlite:
    def __init__(self, path, mode, synced):
        import sqlite3

        self.locked = sqlite3.OperationalError
        self.db = sqlite3.connect(os.path.join(path, "data"), isolation_level=None, timeout=BUSY_SECONDS)
        for pragma in (
            "mmap_size=1000000000",
            "cache_size=10",
            "journal_mode=" + mode,
            "synchronous=" + ("full" if synced else "off"),
            "wal_autocheckpoint=20",
        ):
            self._patiently("pragma " + pragma)
        self._patiently("create table if not exists kv (k blob primary key, v blob) without rowid")

    def _patiently(self, statement):
        """SQLite returns "locked" without waiting where a deadlock is possible (two that recover)."""
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return self.db.execute(statement)
            except self.locked as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.002)

    @contextlib.contextmanager
    def _transaction(self, begin):
        self._patiently(begin)
        try:
            yield SqliteTransaction(self.db)
        except BaseException:
            self.db.execute("rollback")
            raise
        self._patiently("commit")

    def write(self):
        return self._transaction("begin immediate")

    @contextlib.contextmanager
    def read(self):
        with self._transaction("begin") as txn:
            self._patiently("select count(*) from sqlite_schema")  # only now the snapshot is taken
            yield txn

    def sound(self):
        found = self._patiently("pragma integrity_check").fetchall()
        return None if found == [("ok",)] else str(found[:3])

    def close(self):
        self.db.close()
