"""company_outsiders.py: one process under Faultline has a file mapped, and outsiders, which are not under
Faultline, change it or read it.

    outsiders/ask/MAPPING/WAY       changed in many ways; after the call WAY the mapping shows it at once
    outsiders/at-once/MAPPING/WAY   the same, within the time that it takes to notice the outsider
    outsiders/notice/MAPPING        without a call: within 100 ms of the outsider's open or write
    outsiders/told/WAY              the other direction: what was stored, and unlocked by WAY, is read
    outsiders/dirty/…               both have changed the file: nothing of either is lost
"""

import os
import subprocess

from peer import PAGE, Peer, contents, new_file, pages, sum_of
from scene import Wrong, scenario

COUNT = 512  # pages: 2 MiB, more than --min-size by default
LENGTH = COUNT * PAGE
WINDOW = 4 * LENGTH  # mapped, and longer than the file: it grows
NOTICE_MS = 100


class Changed:
    """A file, the bytes that it must hold, and the process under Faultline that has it mapped and cached."""

    def __init__(self, scene, name, peer, outsider, sharing, before=None):
        self.scene, self.peer, self.outsider = scene, peer, outsider
        self.data = bytearray(pages(COUNT, scene.rng.randrange(1000)))
        self.path = new_file(scene, name, self.data)
        self.how = "rw" if sharing == "rwshared" else "r"
        if before is not None:
            before(self)
        peer.opened(self.path, self.how)
        prot, flags = ("r" if sharing == "rshared" else "rw"), (
            "private" if sharing == "private" else "shared"
        )
        peer.do("map", "m", "f", WINDOW, prot, flags, 0)
        if peer.sum("m", LENGTH) != sum_of(self.data):
            raise Wrong(f"{name}: before anything changes it is wrong")

    def tool(self, *argv):
        subprocess.run(argv, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def another(self):
        """Other contents of the same length, in another file."""
        self.data = bytearray(pages(COUNT, 1000 + self.scene.rng.randrange(1000)))
        return new_file(self.scene, "another", self.data)

    def somewhere(self):
        return self.scene.rng.randrange(LENGTH - 64)

    def put(self, at, data):
        if at + len(data) > len(self.data):
            self.data.extend(bytes(at + len(data) - len(self.data)))
        self.data[at : at + len(data)] = data
        return at, data

    def verify(self, what):
        """The whole mapping is as the file: its bytes, zeros beyond the end, and no page after that."""
        if self.peer.sum("m", len(self.data)) != sum_of(self.data):
            raise Wrong(f"{what}: {self._where()}")
        end = -len(self.data) % PAGE
        if end:
            self.peer.sees(bytes(min(end, 64)), at=len(self.data), what=f"{what}: beyond the end ")
        back = self.peer.ask("load", "m", len(self.data) + end, 1)
        if len(self.data) + end < WINDOW and back != "SIGBUS":
            raise Wrong(f"{what}: a load of the page behind the last says {back}")

    def _where(self):
        for at in range(0, len(self.data), PAGE):
            found, right = self.peer.load("m", at, PAGE), bytes(self.data[at : at + PAGE])
            if found[: len(right)] != right:
                byte = next(place for place in range(len(right)) if found[place] != right[place])
                return f"at {at + byte} it sees {found[byte:byte + 24]!r}, and not {right[byte:byte + 24]!r}"
        return "it was wrong, and is right a little later"


# ---- what outsiders do to a file


def by_pwrite(file):
    file.outsider.opened(file.path)
    for _ in range(3):
        file.outsider.pwrite("f", *file.put(file.somewhere(), b"pwrite"))
    file.outsider.do("close", "f")


def open_before(file):
    file.outsider.opened(file.path, file="b")


def by_pwrite_of_one_open_before(file):
    file.outsider.pwrite("b", *file.put(file.somewhere(), b"opened before"))


def by_store(file):
    file.outsider.mapped(file.path, LENGTH)
    for _ in range(3):
        file.outsider.store("m", *file.put(file.somewhere(), b"a store"))
    file.outsider.do("unmap", "m")
    file.outsider.do("close", "f")


def by_append(file):
    file.outsider.opened(file.path, "wa")
    file.outsider.do("write", "f", b"appended".hex())
    file.put(len(file.data), b"appended")
    file.outsider.do("close", "f")


def by_cp(file):
    file.tool("cp", file.another(), file.path)


def by_dd(file):
    at = file.scene.rng.randrange(COUNT) * PAGE
    part = new_file(file.scene, "part", b"written by dd " * 500)
    file.put(at, contents(part))
    file.tool("dd", f"if={part}", f"of={file.path}", "bs=4096", f"seek={at // PAGE}", "conv=notrunc")


def by_dd_direct(file):
    part = new_file(file.scene, "part", b"by dd, direct.. " * 256)
    at = file.scene.rng.randrange(COUNT) * PAGE
    file.put(at, contents(part))
    file.tool(
        "dd", f"if={part}", f"of={file.path}", "bs=4096", f"seek={at // PAGE}", "conv=notrunc", "oflag=direct"
    )


def by_rsync(file):
    file.tool("rsync", "--inplace", "--no-times", "--ignore-times", file.another(), file.path)


def by_truncate_shorter(file):
    length = file.scene.rng.randrange(PAGE, LENGTH)
    del file.data[length:]
    file.tool("truncate", "-s", str(length), file.path)


def by_truncate_longer(file):
    file.put(LENGTH + file.scene.rng.randrange(LENGTH), b"\0")
    file.tool("truncate", "-s", str(len(file.data)), file.path)


def by_truncate_both(file):
    length = file.scene.rng.randrange(PAGE, LENGTH)
    file.data[length:] = bytes(LENGTH - length)
    file.tool("truncate", "-s", str(length), file.path)
    file.tool("truncate", "-s", str(LENGTH), file.path)


def by_punch(file):
    at, count = file.scene.rng.randrange(COUNT - 9) * PAGE, file.scene.rng.randint(1, 8) * PAGE
    file.put(at, bytes(count))
    file.tool("fallocate", "-p", "-o", str(at), "-l", str(count), file.path)


def by_rename(file):
    """The mapping shows the old file, which has no name any more."""
    other = new_file(file.scene, "other", b"other bytes" * 1000)
    os.rename(other, file.path)


def by_sed(file):
    file.tool("sed", "-i", "s/page/PAGE/", file.path)


QUICK = (by_pwrite, by_pwrite_of_one_open_before, by_store, by_append)
TOOLS = (
    by_cp,
    by_dd,
    by_dd_direct,
    by_rsync,
    by_truncate_shorter,
    by_truncate_longer,
    by_truncate_both,
    by_punch,
    by_rename,
    by_sed,
)

# ---- ways to ask, each a function of the asking peer and the file


def one(*words):
    return lambda peer, file: peer.do(*words)


def stat(peer, file):
    peer.do("stat", file.path)


def open_again(peer, file):
    peer.opened(file.path, file.how, "o")
    peer.do("close", "o")


def close_another(peer, file):
    """By the descriptor that was open before."""
    peer.do("close", "c")


def read(peer, file):
    """Reads the bytes that are then looked at in the mapping, which must show what was read."""
    for at in range(0, len(file.data), 1 << 16):
        found, right = peer.pread("f", at, 1 << 16), bytes(file.data[at : at + (1 << 16)])
        if found != right:
            raise Wrong(f"pread between {at} and {at + (1 << 16)} is not what the file has")


ASKS = {
    "fstat": one("fstat", "f"),
    "statx": one("statx", "f"),
    "stat": stat,
    "open": open_again,
    "close": close_another,
    "pread": read,
    "invalidate": one("msync", "m", "invalidate"),
    "dontneed": one("dontneed", "m"),
    "fadvise": one("fadvise", "f"),
}
SHARED_LOCKS = ("rdlock", "ofdrd", "flocksh", "flock", "tflock")
FILE_LOCKS = ("setlk", "setlkw", "ofd", "ofdw", "lockf", "tlockf")
MEMORY_LOCKS = (
    "mutex",
    "trymutex",
    "timedmutex",
    "robust",
    "wrlock",
    "prlock",
    "trywrlock",
    "tryrdlock",
    "timedwrlock",
    "sem",
    "trysem",
    "timedsem",
)
SIGNALS = ("cond", "barrier")  # the one waits for the other


def pair(scene):
    """The process under Faultline, and an outsider; each with a page of locks."""
    under = {
        "memory": scene.rng.choice(("8M", "8M", "1M")),
        "min_size": scene.rng.choice((None, None, 0)),
        "engine": scene.rng.choice((None, None, "thread")),
    }
    scene.say(str(under))
    peer, outsider = Peer(scene, under), Peer(scene, None)
    locks = new_file(scene, "locks", bytes(PAGE))
    for each in (outsider, peer):
        each.mapped(locks, PAGE, mapping="l", file="l")
    if under["min_size"] == 0:
        scene.pause(NOTICE_MS / 1000)
    return peer, outsider


def change_and_ask(scene, sharing, way):
    peer, outsider = pair(scene)
    changes = QUICK + TOOLS if not scene.options.short else (*QUICK, scene.rng.choice(TOOLS))
    memory = way in MEMORY_LOCKS or way in SIGNALS
    if memory:
        outsider.do("init", way, "l", 0)
    for change in scene.rng.sample(changes, len(changes)):
        what = f"{change.__name__}, then {way}"
        file = Changed(scene, change.__name__, peer, outsider, sharing, open_before)
        peer.opened(file.path, file.how, "c")
        if memory and way not in SIGNALS:
            outsider.do("take", way, "l", 0)
        change(file)
        if way == "barrier":
            outsider.send("take", way, "l", 0)
        elif memory:
            outsider.do("drop", way, "l", 0)
        if way in ASKS:
            ASKS[way](peer, file)
        else:
            peer.do("take", way, *(("l", 0) if memory else ("f", 0)))
        if way == "barrier":
            outsider.answer()
        if way in ("stat", "open") and change is by_rename:
            peer.do("fstat", "f")  # the name is another file's
        file.verify(what)
        if way not in ASKS and way not in SIGNALS:
            peer.do("drop", way, *(("l", 0) if memory else ("f", 0)))
        peer.do("unmap", "m")
        for name in "fc" if way != "close" else "f":
            peer.do("close", name)
        outsider.do("close", "b")
    peer.ends()


SHORT_PRIVATE = ("fstat", "invalidate", "rdlock", "mutex")
for _way in (*ASKS, *SHARED_LOCKS, *FILE_LOCKS, *MEMORY_LOCKS, *SIGNALS):
    for _sharing in ("rshared", "rwshared", "private"):
        if _way in FILE_LOCKS and _sharing != "rwshared":
            continue  # a lock for writing needs a descriptor that may write

        scenario(
            f"outsiders/ask/{_sharing}/{_way}",
            args=(_sharing, _way),
            seconds=40,
            short=_sharing == "rwshared" or _way in SHORT_PRIVATE,
        )(change_and_ask)


def change_and_ask_at_once(scene, sharing, way):
    """An outsider opens the file and writes, and the mapping is read, all within the time that it takes to
    notice the outsider: repeatedly, since the bytes must be right before, while and after the file is
    handed over to the kernel.
    """
    peer, outsider = pair(scene)
    outsider.do("init", "mutex", "l", 0)
    for turn in range(15 if scene.options.short else 100):
        file = Changed(scene, f"file{turn}", peer, outsider, sharing)
        peer.opened(file.path, file.how, "c")
        if sharing != "rshared":  # so many pages take their time
            peer.do("scatter", "m", 0, LENGTH // 4, PAGE, b"mine".hex())
        at, data = file.put(LENGTH // 2 + scene.rng.randrange(LENGTH // 2 - 64), b"turn %03d" % turn)
        outsider.opened(file.path)
        outsider.pwrite("f", at, data)
        scene.pause(scene.rng.random() * scene.rng.choice((0, 0.0005, 0.002)))
        if way in ASKS and way != "pread":
            ASKS[way](peer, file)
        elif way == "pread":
            peer.reads(data, at=at, what=f"turn {turn}: ")
        else:
            peer.do("take", way, *(("l", 0) if way == "mutex" else ("f", 0)))
        peer.sees(data, at=at, what=f"turn {turn}, after {way}: ")
        if way == "mutex":
            peer.do("drop", way, "l", 0)
        peer.do("unmap", "m")
        for name in "fc" if way != "close" else "f":
            peer.do("close", name)
        outsider.do("close", "f")
        os.unlink(file.path)
    peer.ends()


for _way in (*ASKS, "rdlock", "flock", "mutex"):
    for _sharing in ("rshared", "rwshared", "private"):
        scenario(
            f"outsiders/at-once/{_sharing}/{_way}",
            args=(_sharing, _way),
            short=_way in ("fstat", "pread", "rdlock", "open"),
        )(change_and_ask_at_once)


# ---- without a call


def noticed(scene, sharing, write):
    peer, outsider = pair(scene)
    file = Changed(scene, "file", peer, outsider, sharing, open_before)
    outsider.mapped(file.path, LENGTH)
    scene.pause(NOTICE_MS / 1000)
    for turn in range(10):
        at, data = file.put(file.somewhere(), b"turn %03d" % turn)
        if write == "store":
            outsider.store("m", at, data)
        else:
            outsider.pwrite("f" if write == "pwrite" else "b", at, data)
        peer.comes_to_see(data, at=at, within_ms=NOTICE_MS, what=f"{write}, turn {turn}: ")
    file.verify("at the end")
    peer.ends()


for _write in ("pwrite", "store", "pwrite-before"):
    for _sharing in ("rshared", "rwshared", "private"):
        scenario(f"outsiders/notice/{_sharing}/{_write}", args=(_sharing, _write))(noticed)


def noticed_tools(scene, sharing):
    """Tools change the file and end; their changes are visible shortly after."""
    peer, outsider = pair(scene)
    for change in TOOLS if not scene.options.short else scene.rng.sample(TOOLS, 3):
        if change is by_rename:
            continue
        file = Changed(scene, change.__name__, peer, outsider, sharing)
        change(file)
        scene.pause(NOTICE_MS / 1000)
        file.verify(f"{change.__name__}, {NOTICE_MS} ms ago")
        peer.do("unmap", "m")
        peer.do("close", "f")
    peer.ends()


for _sharing in ("rshared", "rwshared", "private"):
    scenario(f"outsiders/notice/{_sharing}/tools", args=(_sharing,))(noticed_tools)


@scenario("outsiders/before/store")
def stored_before(scene):
    """An outsider that had mapped the file, and stored to it, before any process under Faultline knew it: its
    next store changes no time stamp. With a lock, the store is seen nevertheless.
    """
    peer, outsider = pair(scene)
    file = Changed(scene, "file", peer, outsider, "rwshared", lambda file: dirty_before(file, outsider))
    for turn in range(20):
        outsider.do("take", "setlkw", "f", 0)
        at, data = file.put(5 * PAGE + turn, b"stored %03d" % turn)
        outsider.store("m", at, data)
        outsider.do("drop", "setlkw", "f", 0)
        peer.do("take", "setlkw", "f", 0)
        peer.sees(data, at=at, what=f"turn {turn}: ")
        at, data = file.put(6 * PAGE + turn, b"here %03d" % turn)
        peer.store("m", at, data)
        peer.do("drop", "setlkw", "f", 0)
        outsider.do("take", "setlkw", "f", 0)
        outsider.sees(data, at=at, what=f"turn {turn}, the outsider: ")
        outsider.do("drop", "setlkw", "f", 0)
    file.verify("at the end")
    peer.ends()


def dirty_before(file, outsider):
    outsider.mapped(file.path, LENGTH)
    for page in (5, 6):
        outsider.store("m", *file.put(page * PAGE, b"dirty"))


# ---- the other direction


def stored(scene, way, by_write):
    """Stores, or writes, and unlocks; the outsider locks and reads, by read and by its mapping."""
    peer, outsider = pair(scene)
    file = Changed(
        scene, "file", peer, outsider, "rwshared", open_before if scene.rng.random() < 0.5 else None
    )
    memory = way in MEMORY_LOCKS or way in SIGNALS
    if memory:
        outsider.do("init", way, "l", 0)
    for turn in range(10):
        if way not in SIGNALS:
            peer.do("take", way, *(("l", 0) if memory else ("f", 0)))
        at, data = file.put(file.somewhere(), b"said %03d" % turn)
        if by_write:
            peer.pwrite("f", at, data)
        else:
            peer.store("m", at, data)
        if way == "barrier":
            peer.send("take", way, "l", 0)
        else:
            peer.do("drop", way, *(("l", 0) if memory else ("f", 0)))
        if turn == 0:
            outsider.mapped(file.path, LENGTH, "rw")
        outsider.do("take", way, *(("l", 0) if memory else ("f", 0)))
        outsider.reads(data, at=at, what=f"{way}, turn {turn}: ")
        outsider.sees(data, at=at, what=f"{way}, turn {turn}: ")
        if way == "barrier":
            peer.answer()
        elif way not in SIGNALS:
            outsider.do("drop", way, *(("l", 0) if memory else ("f", 0)))
    peer.ends()
    if contents(file.path) != bytes(file.data):
        raise Wrong("at the end the file is not what was written")


for _way in (
    *FILE_LOCKS,
    "flock",
    "tflock",
    *(way for way in MEMORY_LOCKS if "rd" not in way and way != "prlock"),
    *SIGNALS,
):
    for _write in (False, True):
        scenario(
            f"outsiders/told/{'write' if _write else 'store'}/{_way}", args=(_way, _write), short=not _write
        )(stored)


@scenario("outsiders/told/open")
def read_without_asking(scene):
    """An outsider opens the file for reading: earlier stores are there soon after, by every way to read."""
    peer, outsider = pair(scene)
    for turn in range(6):
        file = Changed(scene, f"file{turn}", peer, outsider, "rwshared")
        at, data = file.put(file.somewhere(), b"said %03d" % turn)
        if turn % 2:
            peer.pwrite("f", at, data)
        else:
            peer.store("m", at, data)
        outsider.mapped(file.path, LENGTH, "r")
        outsider.comes_to_read(data, at=at, within_ms=NOTICE_MS, what=f"turn {turn}: ")
        outsider.comes_to_see(data, at=at, within_ms=NOTICE_MS, what=f"turn {turn}: ")
        if turn > 3:  # it has it open still
            at, data = file.put(file.somewhere(), b"again %03d" % turn)
            peer.store("m", at, data)
            outsider.comes_to_see(data, at=at, within_ms=NOTICE_MS, what=f"turn {turn}, while it is open: ")
            outsider.comes_to_read(data, at=at, within_ms=NOTICE_MS, what=f"turn {turn}, while it is open: ")
        outsider.do("unmap", "m")
        outsider.do("close", "f")
        peer.do("unmap", "m")
        peer.do("close", "f")
    peer.ends()


@scenario("outsiders/told/cp")
def copied_by_tools(scene):
    """`cp`, `cat`, `cmp` and `sha256sum` beside a writer that synced nothing: its latest stores are there at
    the next try.
    """
    peer, outsider = pair(scene)
    file = Changed(scene, "file", peer, outsider, "rwshared")
    for tool in ("cp", "dd"):
        at, data = file.put(file.somewhere(), b"said to " + tool.encode())
        peer.store("m", at, data)
        for attempt in range(2):
            copy = scene.path(f"copy.{tool}")
            file.tool(
                *(
                    ("cp", file.path, copy)
                    if tool == "cp"
                    else ("dd", f"if={file.path}", f"of={copy}", "bs=64K")
                )
            )
            scene.pause(NOTICE_MS / 1000)
        if contents(copy) != bytes(file.data):
            raise Wrong(f"{tool}: the second copy is not what was stored before the first")
    peer.ends()


# ---- both write


@scenario("outsiders/dirty/other-page")
def dirty_other_page(scene):
    """Dirty pages here, and an outsider writes other pages: both changes are in the file, and both processes
    see both.
    """
    peer, outsider = pair(scene)
    for turn in range(6):
        file = Changed(scene, f"file{turn}", peer, outsider, "rwshared")
        mine, his = scene.rng.sample(range(COUNT), 2)
        peer.store("m", *file.put(mine * PAGE + 7, b"mine"))
        outsider.opened(file.path)
        outsider.pwrite("f", *file.put(his * PAGE + 9, b"his"))
        scene.pause(NOTICE_MS / 1000)
        file.verify(f"turn {turn}")
        if contents(file.path) != bytes(file.data):
            raise Wrong(f"turn {turn}: the file has not both")
        peer.do("msync", "m", "sync")
        file.verify(f"turn {turn}, synced")
        if contents(file.path) != bytes(file.data):
            raise Wrong(f"turn {turn}: after msync the file has not both")
        for each in (peer, outsider):
            each.do("close", "f")
        peer.do("unmap", "m")
    peer.ends()


@scenario("outsiders/dirty/same-page")
def dirty_same_page(scene):
    """A dirty page here; an outsider opens the file and, a moment later, writes to the same page: both
    changes are there.
    """
    peer, outsider = pair(scene)
    for turn in range(6):
        file = Changed(scene, f"file{turn}", peer, outsider, "rwshared")
        page = scene.rng.randrange(COUNT) * PAGE
        peer.store("m", *file.put(page + 7, b"mine"))
        outsider.opened(file.path)
        scene.pause(NOTICE_MS / 1000)
        at, data = file.put(page + 900, b"his")
        outsider.pwrite("f", at, data)
        peer.comes_to_see(data, at=at, within_ms=NOTICE_MS, what=f"turn {turn}: ")
        peer.store("m", *file.put(page + 2000, b"mine again"))
        peer.do("msync", "m", "sync")
        file.verify(f"turn {turn}")
        if contents(file.path) != bytes(file.data):
            raise Wrong(f"turn {turn}: the file has not both")
        for each in (peer, outsider):
            each.do("close", "f")
        peer.do("unmap", "m")
    peer.ends()


@scenario("outsiders/dirty/truncated")
def dirty_truncated(scene):
    """Dirty pages beyond the end that an outsider has cut off are gone, and stay gone; the rest stays."""
    peer, outsider = pair(scene)
    for turn in range(4):
        file = Changed(scene, f"file{turn}", peer, outsider, "rwshared")
        for page in (3, COUNT - 3):
            peer.store("m", *file.put(page * PAGE + 5, b"dirty"))
        outsider.opened(file.path)
        outsider.do("truncate", "f", 100 * PAGE + turn)
        del file.data[100 * PAGE + turn :]
        peer.do("fstat", "f")
        file.verify(f"turn {turn}")
        peer.do("msync", "m", "sync")
        if contents(file.path) != bytes(file.data):
            raise Wrong(f"turn {turn}: the file is not what it must be: {len(contents(file.path))} bytes")
        for each in (peer, outsider):
            each.do("close", "f")
        peer.do("unmap", "m")
    peer.ends()


@scenario("outsiders/dirty/private")
def private_pages(scene):
    """Pages that a private mapping has written are its own; the others show the file."""
    peer, outsider = pair(scene)
    file = Changed(scene, "file", peer, outsider, "private")
    peer.store("m", 7 * PAGE, b"of my own")
    outsider.opened(file.path)
    outsider.pwrite("f", *file.put(8 * PAGE, b"of the file"))
    outsider.pwrite("f", 7 * PAGE, b"not seen")
    peer.do("fstat", "f")
    file.put(7 * PAGE, b"of my own")
    file.verify("after fstat")
    scene.pause(NOTICE_MS / 1000)
    file.verify("later")
    peer.ends()
