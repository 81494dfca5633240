"""The programs that `run` measures: what each is given, and how it is started.

In a command, {work} is the program `work` beside this file, {build} the folder that Faultline was built in,
{input} the input and {result} the file that the program leaves behind. A program that works in place gets a
copy of its input there. What it prints and what it leaves behind must be the same on both sides.
"""

import dataclasses
from collections.abc import Callable

import inputs


@dataclasses.dataclass(frozen=True)
class Program:
    """`times`: the input's size by the limit; `beside_mib`: what the program needs besides mapped files."""

    name: str
    make: Callable[[str, int], None]
    times: int
    beside_mib: int
    command: str
    in_place: bool = False


PROGRAMS = (
    Program("parallel sort", inputs.integers, 4, 4, "{build}/parallel_sort {result}", in_place=True),
    Program("ripgrep", inputs.text, 4, 6, "rg --mmap --text -n needle.*7 {input}"),
    Program("LMDB gets", inputs.lmdb_database, 8, 12, "{work} lmdb_gets {input} 10000"),
    Program(
        "LMDB gets, MDB_NORDAHEAD", inputs.lmdb_database, 8, 12, "{work} lmdb_gets_nordahead {input} 40000"
    ),
    Program("LMDB puts", inputs.lmdb_database, 8, 16, "{work} lmdb_puts {result} 2000", in_place=True),
    Program(
        "LMDB puts, MDB_NORDAHEAD",
        inputs.lmdb_database,
        8,
        16,
        "{work} lmdb_puts_nordahead {result} 20000",
        in_place=True,
    ),
    Program("SQLite queries", inputs.sqlite_database, 8, 12, "{work} sqlite_queries {input} 10000"),
    Program(
        "SQLite updates", inputs.sqlite_database, 8, 16, "{work} sqlite_updates {result} 2000", in_place=True
    ),
    Program("git fsck", inputs.git_repository, 4, 16, "git -C {input} fsck --full --no-progress"),
    Program("numpy column sums", inputs.integers, 4, 24, "{work} numpy_sums {input}"),
    Program("numpy sort", inputs.integers, 4, 24, "{work} numpy_sort {result}", in_place=True),
    Program("lrzip -U", inputs.text, 2, 176, "lrzip -U -l -p 2 -Q -f -o {result} {input}"),
)
