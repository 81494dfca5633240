"""peer.py: a peer process (peer.h) as an object: its commands, and its answers."""

import os
import subprocess
import zlib

from scene import FORKING, Wrong

PAGE = 4096


class Peer:
    """under: None natively, else the options of faultline run. before: a command that starts it all."""

    def __init__(self, scene, under, before=(), **more):
        self.scene = scene
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = scene.start([scene.options.peer], under, before=before, **pipes, **more)
        self.to, self.back = self.process.popen.stdin, self.process.popen.stdout

    def send(self, *words):
        try:
            self.to.write((" ".join(map(str, words)) + "\n").encode())
            self.to.flush()
        except BrokenPipeError:
            pass  # the answer says how it ended

    def answer(self):
        """The answer's line as text: "0", "4 2e2e2e2e", "EAGAIN", "SIGBUS"."""
        line = self.back.readline()
        self.scene.in_time()
        if not line.endswith(b"\n"):
            raise Wrong(f"a peer ended: status {self.process.popen.wait()}")
        return line.decode().strip()

    def ask(self, *words):
        self.send(*words)
        return self.answer()

    def do(self, *words):
        """The answer's number; raises Wrong for an error."""
        words_back = self.ask(*words).split()
        if not words_back[0].lstrip("-").isdigit():
            raise Wrong(f"{' '.join(map(str, words))[:80]}: {' '.join(words_back)[:80]}")
        return int(words_back[0])

    def text(self, *words):
        """The bytes behind the number."""
        self.send(*words)
        back = self.answer().split()
        if not back[0].lstrip("-").isdigit():
            raise Wrong(f"{' '.join(map(str, words))[:80]}: {back[0]}")
        return back[1] if len(back) > 1 else ""

    def load(self, mapping, at, length):
        return bytes.fromhex(self.text("load", mapping, at, length))

    def pread(self, file, at, length):
        return bytes.fromhex(self.text("pread", file, at, length))

    def store(self, mapping, at, data):
        self.do("store", mapping, at, data.hex())

    def pwrite(self, file, at, data):
        self.do("pwrite", file, at, data.hex())

    def opened(self, path, how="rw", file="f"):
        self.do("open", file, path, how)
        return self

    def mapped(self, path, length, how="rw", sharing="shared", mapping="m", file="f"):
        """Opened and mapped from the start; `how` is the open's and the mapping's."""
        self.opened(path, how, file)
        self.do("map", mapping, file, length, how, sharing, 0)
        return self

    def sees(self, data, mapping="m", at=0, what=""):
        """By loads, at once."""
        found = self.load(mapping, at, len(data))
        if found != data:
            raise Wrong(f"{what}at {at} it sees {found[:24]!r}, and not {data[:24]!r}")

    def reads(self, data, file="f", at=0, what=""):
        """By pread, at once."""
        found = self.pread(file, at, len(data))
        if found != data:
            raise Wrong(f"{what}at {at} it reads {found[:24]!r}, and not {data[:24]!r}")

    def comes_to_see(self, data, mapping="m", at=0, within_ms=100, what=""):
        """By loads alone, without any call."""
        self._watch("load", mapping, at, data, within_ms, what)

    def comes_to_read(self, data, file="f", at=0, within_ms=100, what=""):
        self._watch("pread", file, at, data, within_ms, what)

    def _watch(self, how, thing, at, data, within_ms, what):
        back = self.ask("watch", how, thing, at, data.hex(), within_ms)
        if not back.split()[0].isdigit():
            raise Wrong(
                f"{what}at {at} {data[:24]!r} does not come within {within_ms} ms ({how}): {back[:80]}"
            )

    def sum(self, mapping, length):
        return int(self.text("sum", mapping, 0, length))

    def ends(self):
        """Lets it exit by itself, as a program does."""
        self.to.close()
        status = self.process.wait()
        if status != 0:
            raise Wrong(f"a peer's status is {status}")
        return self.process


def sum_of(data):
    """The result of Peer.sum for these bytes."""
    return zlib.adler32(data)


def pages(count, seed=0):
    """Bytes that differ from place to place."""
    return b"".join((b"page %06d of %06d, " % (number, seed) * 256)[:PAGE] for number in range(count))


def new_file(scene, name, data):
    path = scene.path(name)
    with FORKING, open(path, "wb") as file:
        file.write(data)
    os.chmod(path, 0o666)
    return path


def contents(path):
    with open(path, "rb") as file:
        return file.read()
