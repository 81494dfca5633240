"""company_neighbours.py: two processes under Faultline, and more, that share files with each other. If at
most one of them can write and no other reads through a cache, both manage the file; otherwise the kernel
manages it in all of them, from before the second one's mmap, or open for writing, returns.

    neighbours/managed/…     both manage it, and keep their limits
    neighbours/shared/…      the kernel's: every store is seen at once, one line on standard error says so
    neighbours/family/…      parent and children
    neighbours/gone/…        the other one is killed or stopped
    neighbours/race/…        many at once
    neighbours/user/…        another user's
"""

import os
import re
import shutil
import signal
import subprocess
import time

from peer import PAGE, Peer, contents, new_file, pages, sum_of
from scene import Skip, Wrong, scenario

COUNT = 512
LENGTH = COUNT * PAGE
NOTICE_MS = 100
SECOND_WAITS_SECONDS = 5  # at most, for one that is stopped


def under(scene, memory="8M"):
    options = {
        "memory": memory,
        "min_size": scene.rng.choice((None, None, 0)),
        "engine": scene.rng.choice((None, None, "thread")),
    }
    scene.say(str(options))
    return options


def two(scene, **more):
    return Peer(scene, under(scene), **more), Peer(scene, under(scene))


def filled(scene, name="file", count=COUNT):
    data = pages(count, scene.rng.randrange(1000))
    return new_file(scene, name, data), data


def everywhere(peer, mapping="m", length=LENGTH, data=None):
    """Loads all of it, so that it is cached where the process manages it."""
    found = peer.sum(mapping, length)
    if data is not None and found != sum_of(data):
        raise Wrong("all of the file: a peer does not see what it has")


def said(peer, count, path):
    """Checks how many lines of the shim name the file, by inode or by path: `count`, or one of several
    counts.
    """
    if peer.scene.options.native:
        return
    name = re.compile(rf"\b({os.stat(path).st_ino}|{re.escape(os.path.basename(path))})\b")
    lines = [line for line in peer.process.messages() if name.search(line)]
    if len(lines) not in (count if isinstance(count, tuple) else (count,)):
        raise Wrong(f"{len(lines)} lines about {path} and not {count}: {peer.process.messages()}")


def back_and_forth(one, other, ways=("m", "m"), turns=30):
    """The two store in turn, to adjacent bytes, and each sees the other's stores at once."""
    for turn in range(turns):
        for number, (from_, to) in enumerate(((one, other), (other, one))):
            at, data = 9 * PAGE + turn * 32 + number * 16, b"turn %03d of %d" % (turn, number)
            if ways[number] == "m":
                from_.store("m", at, data)
            elif ways[number] == "f":
                from_.pwrite("f", at, data)
            else:
                continue
            to.sees(data, at=at, what=f"turn {turn}: ")


# ---- both manage


def managed(scene, first, second):
    """(how, sharing) of each: no process can write a file that another caches."""
    path, data = filled(scene, count=2048)
    peers = [Peer(scene, under(scene, "2M")), Peer(scene, under(scene, "2M"))]
    for peer, (how, sharing) in zip(peers, (first, second)):
        peer.opened(path, "r")
        peer.do("map", "m", "f", len(data), how, sharing, 0)
    for peer in (*peers, *peers):
        everywhere(peer, length=len(data), data=data)
    for peer in peers:
        said(peer, 0, path)
        peer.ends()
        if scene.options.native:
            continue
        stats = peer.process.stats()
        if stats["page_ins"] == 0 or stats["peak_resident_bytes"] > 2 << 20:
            raise Wrong(f"not managed, or above the limit: {stats}")


READERS = {"shared": ("r", "shared"), "private": ("r", "private"), "private-written": ("rw", "private")}
for _first in READERS:
    for _second in READERS:
        scenario(
            f"neighbours/managed/{_first}-and-{_second}",
            args=(READERS[_first], READERS[_second]),
            short=_first == "shared",
        )(managed)


@scenario("neighbours/managed/writer-alone")
def writer_alone(scene):
    """One maps it to write; the other has other files mapped: each is managed."""
    peers = two(scene)
    for number, peer in enumerate(peers):
        path, data = filled(scene, f"file{number}")
        peer.mapped(path, LENGTH)
        everywhere(peer, data=data)
        peer.store("m", 100, b"mine")
        said(peer, 0, path)
        peer.ends()
        if not scene.options.native and peer.process.stats()["page_ins"] == 0:
            raise Wrong("it is not managed")


@scenario("neighbours/managed/one-after-the-other")
def one_after_the_other(scene):
    """The first has unmapped and closed it, or ended, before the second opens it: the second manages it, and
    sees all stores.
    """
    first, second = two(scene)
    path, data = filled(scene)
    first.mapped(path, LENGTH)
    first.store("m", 77, b"by the first")
    first.do("unmap", "m")
    first.do("close", "f")
    second.mapped(path, LENGTH)
    second.sees(b"by the first", at=77)
    second.store("m", 177, b"by the second")
    first.mapped(path, LENGTH)
    first.sees(b"by the second", at=177)
    back_and_forth(first, second)
    first.ends()
    second.ends()
    data = contents(path)
    third = Peer(scene, under(scene)).mapped(path, LENGTH)
    everywhere(third, data=data)
    said(third, 0, path)
    third.ends()
    if not scene.options.native and third.process.stats()["page_ins"] == 0:
        raise Wrong("it is not managed, although the others are gone")


# ---- the kernel's in both


def handed_over(scene, first, second):
    """The first has it mapped, cached, and dirty where it may write; then the second opens and maps it."""
    one, other = two(scene)
    path, data = filled(scene)
    data = bytearray(data)
    one.mapped(path, LENGTH, *first)
    everywhere(one, data=data)
    if first == ("rw", "shared"):
        one.store("m", 5 * PAGE, b"dirty")
        data[5 * PAGE : 5 * PAGE + 5] = b"dirty"
    other.mapped(path, LENGTH, *second)
    everywhere(other, data=data)
    writers = tuple("m" if how == ("rw", "shared") else "" for how in (first, second))
    back_and_forth(one, other, writers)
    said(one, 1, path)
    said(other, (0, 1), path)
    one.ends()
    other.ends()


HOWS = {"reader": ("r", "shared"), "writer": ("rw", "shared"), "private": ("r", "private")}
for _first, _second in (
    ("reader", "writer"),
    ("writer", "reader"),
    ("writer", "writer"),
    ("private", "writer"),
    ("writer", "private"),
):
    scenario(f"neighbours/shared/{_first}-then-{_second}", args=(HOWS[_first], HOWS[_second]))(handed_over)


def writes_without_mapping(scene, before, how, sharing):
    """A process that only opens the file for writing, before the other maps it, or after."""
    one, other = two(scene)
    path, data = filled(scene)
    if before:
        other.opened(path, how)
    one.mapped(path, LENGTH, "r", sharing)
    everywhere(one, data=data)
    if not before:
        other.opened(path, how)
    for turn in range(20):
        other.pwrite("f", 3 * PAGE + 16 * turn, b"turn %03d" % turn)
        one.sees(b"turn %03d" % turn, at=3 * PAGE + 16 * turn, what=f"turn {turn}: ")
    other.do("truncate", "f", LENGTH // 2 + 5)
    if one.do("fstat", "f") != LENGTH // 2 + 5 or one.ask("load", "m", LENGTH - 1, 1) != "SIGBUS":
        raise Wrong("it does not see that the file is shorter")
    one.sees(bytes(8), at=LENGTH // 2 + 5)
    said(one, (0, 1) if before else 1, path)
    one.ends()
    other.ends()


for _before in (False, True):
    for _how in ("rw", "w"):
        for _sharing in ("shared", "private"):
            when = "before" if _before else "after"
            scenario(
                f"neighbours/shared/{_how}-{when}-{_sharing}",
                args=(_before, _how, _sharing),
                short=_how == "rw" or _sharing == "shared",
            )(writes_without_mapping)


@scenario("neighbours/shared/truncating-open")
def truncating_open(scene):
    """O_TRUNC, where the other has it mapped and dirty."""
    one, other = two(scene)
    path, data = filled(scene)
    one.mapped(path, LENGTH)
    everywhere(one, data=data)
    one.store("m", 5 * PAGE, b"dirty")
    other.opened(path, "wt")
    if one.do("fstat", "f") != 0 or one.ask("load", "m", 5 * PAGE, 1) != "SIGBUS":
        raise Wrong("it does not see that the file is empty")
    other.pwrite("f", 0, b"new bytes")
    one.sees(b"new bytes" + bytes(20))
    one.ends()
    other.ends()
    if contents(path) != b"new bytes":
        raise Wrong("the old bytes came back")


@scenario("neighbours/shared/inherited")
def inherited(scene):
    """The second process inherits a descriptor for writing, as from a shell's >>log: it opens nothing."""
    path, data = filled(scene)
    one = Peer(scene, under(scene)).mapped(path, LENGTH, "r")
    everywhere(one, data=data)
    with open(path, "r+b", buffering=0) as file:
        argv = ["/bin/sh", "-c", f"read go; printf shell >&{file.fileno()}; echo done; read end"]
        other = scene.start(
            argv, under(scene), pass_fds=[file.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        other.popen.stdin.write(b"\n")
        other.popen.stdin.flush()
        other.popen.stdout.readline()
        one.comes_to_see(b"shell", within_ms=NOTICE_MS)
        other.popen.stdin.close()
        other.wait()
    one.ends()


@scenario("neighbours/shared/adopted")
def adopted(scene):
    """Both inherit a descriptor of a file that has no name any more, and open nothing."""
    path, data = filled(scene)
    with open(path, "r+b", buffering=0) as file:
        os.unlink(path)
        one, other = (Peer(scene, under(scene), pass_fds=[file.fileno()]) for _ in range(2))
        for peer in (one, other):
            peer.do("adopt", "f", file.fileno())
            peer.do("map", "m", "f", LENGTH, "rw", "shared", 0)
            everywhere(peer, data=data)
    back_and_forth(one, other)
    one.ends()
    other.ends()


@scenario("neighbours/shared/descriptors-closed")
def descriptors_closed(scene):
    """One of them closes all descriptors, as daemons do: its mapping stays, and it still notices others."""
    one, other = two(scene)
    path, data = filled(scene)
    one.mapped(path, LENGTH)
    everywhere(one, data=data)
    one.do("closeall")
    one.store("m", 5 * PAGE, b"after that")
    other.mapped(path, LENGTH)
    other.sees(b"after that", at=5 * PAGE)
    back_and_forth(one, other)
    one.ends()
    other.ends()


@scenario("neighbours/shared/other-environment")
def other_environment(scene):
    """The second is started with an empty environment: it still belongs to the same user."""
    one = Peer(scene, under(scene))
    path, data = filled(scene)
    one.mapped(path, LENGTH)
    everywhere(one, data=data)
    other = Peer(scene, under(scene), env={"PATH": "/usr/bin:/bin", "TMPDIR": scene.directory, "HOME": "/"})
    other.mapped(path, LENGTH)
    back_and_forth(one, other)
    one.ends()
    other.ends()


@scenario("neighbours/shared/upgraded")
def upgraded(scene):
    """Both read it, and manage it; then one of them opens it for writing, too."""
    one, other = two(scene)
    path, data = filled(scene)
    for peer in (one, other):
        peer.mapped(path, LENGTH, "r")
        everywhere(peer, data=data)
        said(peer, 0, path)
    one.opened(path, "rw", "w")
    one.pwrite("w", 12345, b"by the one")
    other.sees(b"by the one", at=12345)
    one.sees(b"by the one", at=12345)
    one.do("map", "w", "w", LENGTH, "rw", "shared", 0)
    one.store("w", 22345, b"stored")
    other.sees(b"stored", at=22345)
    said(one, (0, 1), path)
    said(other, 1, path)
    one.ends()
    other.ends()


@scenario("neighbours/shared/read-by-read")
def read_by_read(scene):
    """A writer, and a process that reads by read(2) and maps nothing: it reads earlier stores, and those that
    are made while it has the file open.
    """
    one, other = two(scene)
    path, data = filled(scene)
    one.mapped(path, LENGTH)
    everywhere(one, data=data)
    one.store("m", 500, b"stored")
    other.opened(path, "r")
    other.comes_to_read(b"stored", at=500, within_ms=NOTICE_MS)
    one.store("m", 600, b"again")
    other.comes_to_read(b"again", at=600, within_ms=NOTICE_MS)
    one.do("take", "setlkw", "f", 0)
    one.store("m", 700, b"unlocked")
    one.do("drop", "setlkw", "f", 0)
    other.do("take", "rdlock", "f", 0)
    other.reads(b"unlocked", at=700)
    one.ends()
    other.ends()


@scenario("neighbours/shared/two-names")
def two_names(scene):
    """Hard links, symbolic links and relative paths are one file."""
    one, other = two(scene)
    path, data = filled(scene)
    os.link(path, scene.path("hard"))
    os.symlink("hard", scene.path("soft"))
    one.mapped(path, LENGTH)
    everywhere(one, data=data)
    other.mapped("soft", LENGTH)
    back_and_forth(one, other)
    said(one, 1, path)
    one.ends()
    other.ends()


@scenario("neighbours/shared/unlinked")
def unlinked(scene):
    """The file has no name any more; a new one has its name and, maybe, its inode later: they are two
    files."""
    one, other = two(scene)
    for turn in range(8):
        path, data = filled(scene)
        one.mapped(path, LENGTH)
        everywhere(one, data=data)
        os.unlink(path)
        again, new = filled(scene)
        other.mapped(again, LENGTH)
        everywhere(other, data=new)
        one.store("m", 99, b"old")
        other.sees(new[99:102], at=99, what=f"turn {turn}: ")
        other.store("m", 99, b"new")
        one.sees(b"old", at=99, what=f"turn {turn}: ")
        if turn % 2:  # and the other way round: the inode number is free while one holds nothing
            one, other = other, one
        for peer in (one, other):
            peer.do("unmap", "m")
            peer.do("close", "f")
    one.ends()
    other.ends()


@scenario("neighbours/shared/many-mappings")
def many_mappings(scene):
    """Each has several mappings of parts of one file, shared and private, when it is handed over: all keep
    working.
    """
    one, other = two(scene)
    path, data = filled(scene)
    data = bytearray(data)
    one.opened(path)
    for number, letter in enumerate("abcdefgh"):
        one.do(
            "map",
            letter,
            "f",
            LENGTH // 2,
            "rw",
            "private" if number % 4 == 3 else "shared",
            number * 16 * PAGE,
        )
        one.sum(letter, LENGTH // 2)
    one.store("d", 10, b"private")
    one.store("a", 40 * PAGE, b"dirty")
    other.mapped(path, LENGTH)
    other.sees(b"dirty", at=40 * PAGE)
    for number, letter in enumerate("abcdefgh"):
        one.sees(b"dirty", letter, (40 - number * 16) * PAGE) if number < 3 else None
    one.sees(b"private", "d", 10)
    other.store("m", 48 * PAGE + 200, b"by the other")
    for number, letter in enumerate("abc"):
        one.sees(b"by the other", letter, (48 - number * 16) * PAGE + 200)
    one.sees(b"private", "d", 10)
    for letter in "aceg":
        one.do("unmap", letter)
    one.store("b", 30 * PAGE, b"once more")
    other.sees(b"once more", at=46 * PAGE)
    said(one, 1, path)
    one.ends()
    other.ends()


@scenario("neighbours/shared/many-files")
def many_files(scene):
    """40 files, of which the second process opens every other one: one line for each of these, and the others
    stay managed.
    """
    one, other = two(scene)
    paths = [filled(scene, f"file{number}", 256) for number in range(40)]
    for number, (path, data) in enumerate(paths):
        one.mapped(path, 256 * PAGE, mapping=chr(48 + number), file=chr(48 + number))
        everywhere(one, chr(48 + number), 256 * PAGE, data)
    for number, (path, data) in enumerate(paths):
        if number % 2:
            other.mapped(path, 256 * PAGE)
            other.store("m", 50, b"by the other")
            one.sees(b"by the other", chr(48 + number), 50)
    for number, (path, data) in enumerate(paths):
        said(one, number % 2, path)
    one.ends()
    other.ends()


def several(scene, count):
    """A third and a fourth map a file that was handed over to the kernel already, one ends, and another maps
    it.
    """
    path, data = filled(scene)
    data = bytearray(data)
    peers = []
    for number in range(count):
        peer = Peer(scene, under(scene)).mapped(path, LENGTH, "rw" if number != 1 else "r")
        everywhere(peer, data=data)
        if number != 1:
            peer.store("m", number * PAGE, b"peer %d" % number)
            data[number * PAGE : number * PAGE + 6] = b"peer %d" % number
        peers.append(peer)
        for each in peers:
            everywhere(each, data=data)
    peers.pop(0).ends()
    back_and_forth(peers[1], peers[-1])
    for peer in peers:
        peer.ends()


for _count in (3, 4, 8):
    scenario(f"neighbours/shared/{_count}-processes", args=(_count,))(several)

# ---- families


def fifos(scene, number=0):
    paths = scene.path(f"in.{number}"), scene.path(f"out.{number}")
    for path in paths:
        os.mkfifo(path)
    return paths


class Child(Peer):
    """A child of a peer, which listens to FIFOs."""

    def __init__(self, parent, how):
        self.scene, self.process = parent.scene, parent.process
        to, back = fifos(parent.scene, len(os.listdir(parent.scene.directory)))
        self.pid = parent.do("spawn", how, to, back) if how != "become" else None
        if how == "become":
            parent.send("exec", to, back)
        self.to = open(to, "wb", buffering=0)
        self.back = open(back, "rb")
        if how == "fork":
            self.answer()  # to spawn, as its parent's

    def leaves(self):
        """Its standard input ends."""
        self.to.close()
        if self.back.read() != b"":
            raise Wrong("a child says more than it was asked")
        self.back.close()


def family(scene, how):
    """The parent has it mapped; the child opens and maps it, too."""
    parent = Peer(scene, under(scene))
    path, data = filled(scene)
    parent.mapped(path, LENGTH)
    everywhere(parent, data=data)
    parent.store("m", 5 * PAGE, b"dirty")
    child = Child(parent, how)
    child.mapped(path, LENGTH, mapping="m" if how != "fork" else "n", file="f" if how != "fork" else "g")
    child.sees(b"dirty", "m", 5 * PAGE)
    back_and_forth(parent, child)
    if how == "fork":
        child.store("n", 6 * PAGE, b"the child's new mapping")
        parent.sees(b"the child's new mapping", at=6 * PAGE)
    child.leaves()
    parent.store("m", 7 * PAGE, b"alone again")
    parent.ends()
    if contents(path)[7 * PAGE :][:11] != b"alone again":
        raise Wrong("what the parent stored last is not in the file")


for _how in ("fork", "exec", "spawn"):
    scenario(f"neighbours/family/{_how}", args=(_how,))(family)


@scenario("neighbours/family/become")
def become(scene):
    """It executes another program, which makes its entry in the registry anew."""
    one, other = two(scene)
    path, data = filled(scene)
    one.mapped(path, LENGTH)
    everywhere(one, data=data)
    one.store("m", 5 * PAGE, b"dirty")
    new = Child(one, "become")
    other.mapped(path, LENGTH)
    other.sees(b"dirty", at=5 * PAGE)
    new.mapped(path, LENGTH)
    back_and_forth(new, other)
    new.leaves()
    other.ends()


@scenario("neighbours/family/forked-reader")
def forked_reader(scene):
    """A forked child runs without Faultline: the parent sees its writes at its next call, and shortly after
    without one.
    """
    parent = Peer(scene, under(scene))
    path, data = filled(scene)
    parent.mapped(path, LENGTH, "r")
    everywhere(parent, data=data)
    child = Child(parent, "fork")
    child.opened(path, "rw", "g")
    child.pwrite("g", 900, b"by the child")
    parent.do("fstat", "f")
    parent.sees(b"by the child", at=900)
    child.pwrite("g", 1900, b"and more")
    parent.comes_to_see(b"and more", at=1900, within_ms=NOTICE_MS)
    child.leaves()
    parent.ends()


@scenario("neighbours/family/second-comes-to-a-fork")
def second_comes_to_a_fork(scene):
    """Parent and forked child share the kernel's mapping; an unrelated process under Faultline joins."""
    parent, other = two(scene)
    path, data = filled(scene)
    parent.mapped(path, LENGTH)
    everywhere(parent, data=data)
    child = Child(parent, "fork")
    other.mapped(path, LENGTH)
    everywhere(other, data=data)
    back_and_forth(parent, other)
    back_and_forth(child, other)
    child.leaves()
    parent.ends()
    other.ends()


# ---- killed and stopped


@scenario("neighbours/gone/killed")
def killed(scene):
    """A holder that was killed holds nothing: the next one manages the file."""
    path, data = filled(scene)
    for turn in range(5):
        holder = Peer(scene, under(scene)).mapped(path, LENGTH, "rw" if turn % 2 else "r")
        everywhere(holder, data=data)
        holder.process.kill()
        holder.process.popen.wait()
    start = time.monotonic()
    peer = Peer(scene, under(scene)).mapped(path, LENGTH)
    everywhere(peer, data=data)
    if time.monotonic() - start > SECOND_WAITS_SECONDS:
        raise Wrong("it waited for one that is dead")
    said(peer, 0, path)
    peer.ends()
    if not scene.options.native and peer.process.stats()["page_ins"] == 0:
        raise Wrong("it is not managed, although the holders are dead")


@scenario("neighbours/gone/killed-while-handing-over", seconds=60)
def killed_while_handing_over(scene):
    """The holder is killed at about the moment when the other opens the file: the other goes on, and sees
    whole pages.
    """
    path, data = filled(scene)
    for turn in range(5 if scene.options.short else 40):
        holder, other = two(scene)
        holder.mapped(path, LENGTH)
        everywhere(holder, data=data)
        other.send("open", "f", path, "rw")
        scene.pause(scene.rng.random() * scene.rng.choice((0.0003, 0.003)))
        holder.process.kill()
        other.answer()
        other.do("map", "m", "f", LENGTH, "rw", "shared", 0)
        everywhere(other, data=data)
        other.ends()


def stopped(scene, first, second):
    """A holder that is stopped (^Z): the second does not wait for long; when the first continues, both see
    all stores.
    """
    one, other = two(scene)
    path, data = filled(scene)
    one.mapped(path, LENGTH, first)
    everywhere(one, data=data)
    if first == "rw":
        one.store("m", 5 * PAGE, b"dirty")
    one.process.kill(signal.SIGSTOP)
    start = time.monotonic()
    other.mapped(path, LENGTH, second)
    other.load("m", 9 * PAGE, 1)
    waited = time.monotonic() - start
    if waited > SECOND_WAITS_SECONDS:
        raise Wrong(f"it waited {waited:.1f} s for one that is stopped")
    if second == "rw":
        other.store("m", 6 * PAGE, b"by the other")
    one.process.kill(signal.SIGCONT)
    one.do("pid")
    scene.pause(NOTICE_MS / 1000)
    if second == "rw":
        one.do("fstat", "f")
        one.sees(b"by the other", at=6 * PAGE)
    if first == "rw":
        other.comes_to_see(b"dirty", at=5 * PAGE, within_ms=NOTICE_MS)
    back_and_forth(one, other, ("m" if first == "rw" else "", "m" if second == "rw" else ""))
    one.ends()
    other.ends()


for _first, _second in (("r", "rw"), ("rw", "rw"), ("rw", "r"), ("r", "r")):
    scenario(f"neighbours/gone/stopped-{_first}-{_second}", args=(_first, _second), seconds=40)(stopped)


@scenario("neighbours/gone/stopped-many-files", seconds=60)
def stopped_many_files(scene):
    """A holder of many files is stopped: the second does not wait for each of them anew."""
    one, other = two(scene)
    letters = "abcdefgh"
    paths = {letter: filled(scene, f"file-{letter}", 256)[0] for letter in letters}
    for letter in letters:
        one.mapped(paths[letter], 256 * PAGE, "r", mapping=letter, file=letter)
        one.sum(letter, 256 * PAGE)
    one.process.kill(signal.SIGSTOP)
    start = time.monotonic()
    for letter in letters:
        other.mapped(paths[letter], 256 * PAGE, mapping=letter, file=letter)
        other.store(letter, 99, b"meanwhile")
    waited = time.monotonic() - start
    if waited > SECOND_WAITS_SECONDS:
        raise Wrong(f"it waited {waited:.1f} s for one that is stopped")
    one.process.kill(signal.SIGCONT)
    for letter in letters:
        one.do("fstat", letter)
        one.comes_to_see(b"meanwhile", letter, 99, within_ms=NOTICE_MS, what=f"{letter}: ")
    one.ends()
    other.ends()


@scenario("neighbours/gone/parent-killed")
def parent_killed(scene):
    """A holder is killed, and its forked child, which runs without Faultline, lives on: no process waits for
    the dead one.
    """
    parent, other = two(scene)
    path, data = filled(scene)
    parent.mapped(path, LENGTH, "r")
    everywhere(parent, data=data)
    child = Child(parent, "fork")
    parent.process.kill()
    parent.process.popen.wait()
    start = time.monotonic()
    other.mapped(path, LENGTH)
    waited = time.monotonic() - start
    if waited > 1:
        raise Wrong(f"it waited {waited:.1f} s for one that is dead")
    other.store("m", 77, b"by the other")
    everywhere(child, data=data[:77] + b"by the other" + data[89:])
    other.ends()
    child.leaves()


@scenario("neighbours/gone/many-dead", seconds=240)
def many_dead(scene):
    """The registry is full of entries of dead processes, each of many files."""
    processes, files = (12, 50) if scene.options.short else (150, 70)
    letters = [chr(48 + number) for number in range(files)]
    paths = [new_file(scene, f"file{number}", pages(1) * 256) for number in range(files)]
    for _ in range(processes):
        peer = Peer(scene, {"memory": "4M"})
        for letter, path in zip(letters, paths):
            peer.send("open", letter, path, "r")
            peer.send("map", letter, letter, 256 * PAGE, "r", "shared", 0)
        for _ in range(2 * files):
            peer.answer()
        peer.process.kill()
        peer.process.popen.wait()
    handed_over(scene, HOWS["writer"], HOWS["writer"])


# ---- races


def script(*lines):
    return "".join(line + "\n" for line in lines).encode()


@scenario("neighbours/race/processes", seconds=120)
def race_of_processes(scene):
    """Three short-lived processes map the same file, and each stores one byte on the same page."""
    for turn in range(12 if scene.options.short else 250):
        path, data = filled(scene, f"file{turn % 3}", 256)
        data = bytearray(data)
        racers = []
        for number in range(3):
            with open(scene.path(f"script{number}"), "wb") as file:
                file.write(
                    script(
                        f"open f {path} rw", f"map m f {len(data)} rw shared 0", f"store m {number + 50} 2a"
                    )
                )
            with open(scene.path(f"script{number}"), "rb") as file, open(
                scene.path(f"said{number}"), "wb"
            ) as out:
                racers.append(scene.start([scene.options.peer], {"memory": "2M"}, stdin=file, stdout=out))
            data[number + 50] = 0x2A
        for number, racer in enumerate(racers):
            if racer.wait() != 0 or contents(scene.path(f"said{number}")).split() != [b"3", b"0", b"0"]:
                raise Wrong(f"turn {turn}: racer {number} says {contents(scene.path(f'said{number}'))}")
        if contents(path) != bytes(data):
            raise Wrong(f"turn {turn}: of three bytes of three processes there are {contents(path)[50:53]!r}")
        scene.processes.clear()


@scenario("neighbours/race/files", seconds=120)
def race_of_files(scene):
    """The same three processes map one new file after another, and store to it at the same moment."""
    peers = [Peer(scene, under(scene)) for _ in range(3)]
    for turn in range(40 if scene.options.short else 500):
        path, data = filled(scene, f"file{turn % 5}", 256)
        data = bytearray(data)
        for number, peer in enumerate(peers):
            peer.send("open", "f", path, "rw")
            peer.send("map", "m", "f", len(data), "rw", "shared", 0)
            peer.send("store", "m", number + 50, "2a")
            data[number + 50] = 0x2A
        for peer in peers:
            for _ in range(3):
                if not peer.answer().split()[0].isdigit():
                    raise Wrong(f"turn {turn}: it cannot map or store")
        for peer in peers:
            peer.sees(bytes(data[:64]), what=f"turn {turn}: ")
        for peer in scene.rng.sample(peers, 3):
            peer.do("unmap", "m")
            peer.do("close", "f")
        if contents(path) != bytes(data):
            raise Wrong(f"turn {turn}: of three bytes of three processes there are {contents(path)[50:53]!r}")
        os.unlink(path)
    for peer in peers:
        peer.ends()


@scenario("neighbours/race/crossed", seconds=120)
def race_crossed(scene):
    """Each has a file mapped that the other opens for writing at the same moment: they wait for each other,
    but not for ever.
    """
    one, other = two(scene)
    for turn in range(20 if scene.options.short else 300):
        for peer, mine in ((one, "mine"), (other, "his")):
            path, data = filled(scene, mine, 256)
            peer.mapped(path, 256 * PAGE)
            everywhere(peer, "m", 256 * PAGE, data)
            peer.store("m", 33, mine.encode())
        for peer, his in ((one, "his"), (other, "mine")):
            peer.send("open", "g", scene.path(his), "rw")
            peer.send("map", "n", "g", 256 * PAGE, "rw", "shared", 0)
        for peer in (one, other):
            peer.answer()
            peer.answer()
        one.sees(b"his", "n", 33, what=f"turn {turn}: ")
        other.sees(b"mine", "n", 33, what=f"turn {turn}: ")
        one.store("n", 66, b"by one")
        other.sees(b"by one", "m", 66, what=f"turn {turn}: ")
        for peer in (one, other):
            for letter in "mn":
                peer.do("unmap", letter)
            for letter in "fg":
                peer.do("close", letter)
        os.unlink(scene.path("mine"))
        os.unlink(scene.path("his"))
    one.ends()
    other.ends()


@scenario("neighbours/race/threads", seconds=60)
def race_of_threads(scene):
    """Threads of one process map the same file at the same moment; and those of another process, too."""
    one, other = two(scene)
    for turn in range(10 if scene.options.short else 100):
        path, _ = filled(scene, f"file{turn % 3}", 256)
        how = ("r", "rw")[turn % 2]
        one.send("threads", 8, path, 256 * PAGE, how)
        if turn % 3:
            other.send("threads", 8, path, 256 * PAGE, "rw")
        sums = [one.answer()] + ([other.answer()] if turn % 3 else [])
        if len(set(sums)) != 1 or not sums[0].isdigit():
            raise Wrong(f"turn {turn}: the threads' sums are {sums}")
        os.unlink(path)
    one.ends()
    other.ends()


@scenario("neighbours/race/busy-holder", seconds=60)
def race_of_a_busy_holder(scene):
    """The holder stores without a pause, and reads, while the file is handed over: no store is lost."""
    for _ in range(3 if scene.options.short else 30):
        one, other = two(scene)
        path, _ = filled(scene)
        with open(path, "r+b") as file:
            file.write(bytes(8))
        locks = new_file(scene, "locks", bytes(PAGE))
        one.mapped(path, LENGTH)
        one.mapped(locks, PAGE, mapping="l", file="l")
        one.do("init", "mutex", "l", 0)
        one.send("count", "m", 0, 3000, "mutex", "l", 0)
        scene.pause(scene.rng.random() * 0.02)
        other.mapped(path, LENGTH)
        other.do("take", "flock", "f", 0)
        one.answer()
        found = int.from_bytes(other.load("m", 0, 8), "little")
        if found != 3000:
            raise Wrong(f"3,000 increments, and {found} are seen")
        one.ends()
        other.ends()


# ---- users


@scenario("neighbours/user/changed")
def changed_user(scene):
    """One of them was started by root, and has become another user."""
    if os.geteuid() != 0:
        raise Skip("only root can become another user")
    one, other = two(scene)
    os.chmod(scene.directory, 0o777)
    path, data = filled(scene)
    one.mapped(path, LENGTH)
    everywhere(one, data=data)
    other.do("setuid", 65534)
    other.mapped(path, LENGTH)
    one.store("m", 500, b"root's")
    other.comes_to_see(b"root's", at=500, within_ms=NOTICE_MS)
    back_and_forth(one, other)
    one.ends()
    other.ends()


@scenario("neighbours/user/other-pid-namespace")
def other_pid_namespace(scene):
    """The second has a PID namespace of its own, as in a container that shares the files."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise Skip("only root can have another namespace")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        raise Skip("namespaces cannot be had here")
    one = Peer(scene, under(scene))
    path, data = filled(scene)
    one.mapped(path, LENGTH)
    everywhere(one, data=data)
    one.store("m", 500, b"outside")
    other = Peer(scene, under(scene), before=unshare)
    other.mapped(path, LENGTH)
    other.comes_to_see(b"outside", at=500, within_ms=NOTICE_MS)
    back_and_forth(one, other)
    one.ends()
    other.ends()


@scenario("neighbours/user/other")
def other_user(scene):
    """A process of another user is an outsider, even under Faultline; and the registries do not mix."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        raise Skip("only root can be two users")
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    os.chmod(scene.directory, 0o777)
    if (
        subprocess.run(
            [*drop, scene.options.faultline, "run", "--memory", "2M", "--", scene.options.peer],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=scene.directory,
            check=False,
        ).returncode
        != 0
    ):
        raise Skip("another user cannot run from here")
    path, data = filled(scene)
    one = Peer(scene, under(scene))
    one.mapped(path, LENGTH)
    everywhere(one, data=data)
    one.store("m", 500, b"root's")
    other = Peer(scene, {"memory": "4M"}, before=drop)
    other.mapped(path, LENGTH)
    other.comes_to_see(b"root's", at=500, within_ms=NOTICE_MS)
    for turn in range(5):
        other.do("take", "setlkw", "f", 0)
        other.store("m", 600 + 32 * turn, b"turn %03d" % turn)
        other.do("drop", "setlkw", "f", 0)
        one.do("take", "setlkw", "f", 0)
        one.sees(b"turn %03d" % turn, at=600 + 32 * turn, what=f"turn {turn}: ")
        one.store("m", 900 + 32 * turn, b"back %03d" % turn)
        one.do("drop", "setlkw", "f", 0)
        other.do("take", "setlkw", "f", 0)
        other.sees(b"back %03d" % turn, at=900 + 32 * turn, what=f"turn {turn}: ")
        other.do("drop", "setlkw", "f", 0)
    one.ends()
    other.ends()
