"""company_followers.py: readers that follow the appends of another process: to a log, and to a systemd
journal.

    followers/log/HOW/MIXTURE/MINSIZE      mixture: the follower and the writer, F under Faultline, N natively
    followers/journal/MIXTURE/MINSIZE      journalctl -f, beside systemd-journal-remote that writes
"""

import os
import shutil
import subprocess
import time

from peer import PAGE, Peer, contents, new_file
from scene import Skip, Wrong, scenario, wait_until

NOTICE_MS = 100
WINDOW = 64 << 20
LINE = 8
MIXTURES = ("FN", "FF", "NF")
MIN_SIZES = {"default": None, "min0": 0}


def options(scene, place, min_size):
    if place == "N":
        return None
    return {
        "memory": scene.rng.choice(("2M", "16M")),
        "min_size": MIN_SIZES[min_size],
        "engine": scene.rng.choice((None, None, "thread")),
    }


# ---- a log


class Log:
    """A log of two MiB, its writer, and its follower, which has it mapped."""

    def __init__(self, scene, mixture, min_size, window):
        self.scene, self.length = scene, 2 << 20
        self.path = new_file(scene, "log", b"." * (self.length - 1) + b"\n")
        self.follower = Peer(scene, options(scene, mixture[0], min_size))
        self.writer = Peer(scene, options(scene, mixture[1], min_size))
        self.window = window
        self.writer_first = scene.rng.random() < 0.5
        if self.writer_first:
            self.writer.opened(self.path, "wa")
        self.follower.mapped(self.path, window, "r")
        self.follower.sum("m", self.length)
        if not self.writer_first:
            self.writer.opened(self.path, "wa")

    def append(self, text):
        self.writer.do("write", "f", text.hex())
        self.length += len(text)


def line(scene, turn):
    """A line of any length, so that it ends anywhere in a page, and is several pages long now and then."""
    return b"%06d " % turn + b"x" * scene.rng.choice((1, 9, 300, 300, 5000, 20000)) + b"\n"


def follow_fstat(scene, log):
    """As log viewers do: fstat gives the length, and the mapping the bytes."""
    for turn in range(100):
        text = line(scene, turn)
        log.append(text)
        if log.follower.do("fstat", "f") != log.length:
            raise Wrong(f"turn {turn}: fstat does not say {log.length}")
        log.follower.sees(text, at=log.length - len(text), what=f"turn {turn}: ")


def follow_anew(scene, log):
    """The log is mapped anew as it grows, with its exact length."""
    for turn in range(60):
        text = line(scene, turn)
        log.append(text)
        length = log.follower.do("statx" if turn % 2 else "length", "f")
        if length != log.length:
            raise Wrong(f"turn {turn}: its length is {length}, and not {log.length}")
        log.follower.do("unmap", "m")
        log.follower.do("map", "m", "f", length, "r", "shared", 0)
        log.follower.sees(text, at=length - len(text), what=f"turn {turn}: ")


def follow_opened(scene, log):
    """The log is closed, opened and mapped each time."""
    for turn in range(60):
        text = line(scene, turn)
        log.append(text)
        for ask in (("unmap", "m"), ("close", "f")):
            log.follower.do(*ask)
        log.follower.mapped(log.path, log.window, "r")
        log.follower.sees(text, at=log.length - len(text), what=f"turn {turn}: ")


def follow_silently(scene, log):
    """The follower makes no call, and looks beyond the end that it knows, in the last page of its mapping."""
    for turn in range(20):
        text = b"%07d\n" % turn
        log.append(text)
        if (log.length - len(text)) % PAGE == 0:
            log.follower.do("fstat", "f")  # a new page could be beyond the end
        log.follower.comes_to_see(text, at=log.length - len(text), within_ms=NOTICE_MS, what=f"turn {turn}: ")


def follow_reopening(scene, log):
    """The writer opens, appends and closes for each line, as a shell's >> does."""
    for turn in range(60):
        text = line(scene, turn)
        log.writer.do("close", "f")
        log.writer.opened(log.path, "wa")
        log.append(text)
        if log.follower.do("fstat", "f") != log.length:
            raise Wrong(f"turn {turn}: fstat does not say {log.length}")
        log.follower.sees(text, at=log.length - len(text), what=f"turn {turn}: ")


def follow_stores(scene, log):
    """The writer makes the log longer, and stores the line through a mapping of its own."""
    log.writer.mapped(log.path, log.window, "rw", mapping="w", file="w")
    for turn in range(60):
        text = line(scene, turn)
        log.writer.do("truncate", "w", log.length + len(text))
        log.writer.store("w", log.length, text)
        log.length += len(text)
        log.writer.do("take", "setlkw", "w", 0)
        log.writer.do("drop", "setlkw", "w", 0)
        log.follower.do("take", "rdlock", "f", 0)
        if log.follower.do("fstat", "f") != log.length:
            raise Wrong(f"turn {turn}: fstat does not say {log.length}")
        log.follower.sees(text, at=log.length - len(text), what=f"turn {turn}: ")
        log.follower.do("drop", "rdlock", "f", 0)


def follow_rotated(scene, log):
    """copytruncate: the log is copied, truncated to nothing, and grows again."""
    for turn in range(40):
        if turn % 8 == 7:
            log.writer.do("truncate", "f", 0)
            log.length = 0
        text = line(scene, turn)
        log.append(text)
        if log.follower.do("fstat", "f") != log.length:
            raise Wrong(f"turn {turn}: fstat does not say {log.length}")
        log.follower.sees(text, at=log.length - len(text), what=f"turn {turn}: ")


FOLLOW = {
    "fstat": follow_fstat,
    "anew": follow_anew,
    "opened": follow_opened,
    "silently": follow_silently,
    "reopening": follow_reopening,
    "stores": follow_stores,
    "rotated": follow_rotated,
}


def followed(scene, how, mixture, min_size):
    log = Log(scene, mixture, min_size, WINDOW if how != "anew" else 2 << 20)
    FOLLOW[how](scene, log)
    log.writer.ends()
    log.follower.ends()


for _how in FOLLOW:
    for _mixture in MIXTURES:
        for _min_size in MIN_SIZES:
            scenario(
                f"followers/log/{_how}/{_mixture}/{_min_size}",
                args=(_how, _mixture, _min_size),
                short=_min_size == "default" and _mixture != "NF",
            )(followed)

# ---- a journal

REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT, MACHINE = "6c7c6013a8464b8c8c3c1a1d1a1d1a1d", "8c7c6013a8464b8c8c3c1a1d1a1d1a1e"


def entry(number, text):
    """In the journal's export format."""
    fields = {
        "__REALTIME_TIMESTAMP": time.time_ns() // 1000,
        "__MONOTONIC_TIMESTAMP": time.monotonic_ns() // 1000,
        "_BOOT_ID": BOOT,
        "_MACHINE_ID": MACHINE,
        "PRIORITY": 6,
        "MESSAGE": f"entry {number:06d} {text}",
    }
    return ("".join(f"{name}={value}\n" for name, value in fields.items()) + "\n").encode()


def journal(scene, mixture, min_size):
    """Every entry appears, in order, soon after it was written; at the end the journal passes its check."""
    if not os.path.exists(REMOTE) or shutil.which("journalctl") is None:
        raise Skip("systemd-journal-remote and journalctl are needed")
    rng, path = scene.rng, scene.path("log.journal")
    count = 150 if scene.options.short else 600
    writer = scene.start(
        [REMOTE, "-o", path, "--split-mode=none", "-"],
        options(scene, mixture[1], min_size),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    written = []

    def write(some):
        for _ in range(some):
            text = "x" * rng.choice((3, 100, 700))
            written.append(f"entry {len(written):06d} {text}".encode())
            writer.popen.stdin.write(entry(len(written) - 1, text))
        writer.popen.stdin.flush()

    write(rng.randint(1, 50))
    wait_until(
        scene, lambda: listed(path), pause=0.02
    )  # journalctl --follow gives up where there is no entry
    said = scene.path("followed")
    with open(said, "wb") as out:
        follower = scene.start(
            ["journalctl", "--file", path, "--follow", "--lines=all", "--output=cat", "--quiet"],
            options(scene, mixture[0], min_size),
            stdout=out,
        )
    while len(written) < count:
        write(rng.choice((1, 1, 1, 5, 30)))
        scene.pause(rng.choice((0, 0.002, 0.02)))
        if rng.random() < 0.05:
            appears(scene, said, written, follower)
    appears(scene, said, written, follower)
    writer.popen.stdin.close()
    if writer.wait() != 0:
        raise Wrong("the writer's status")
    follower.kill()
    verified = subprocess.run(
        ["journalctl", "--file", path, "--verify"], capture_output=True, check=False, timeout=60
    )
    found = listed(path)
    if verified.returncode != 0 or found != written:
        raise Wrong(
            f"the journal has {len(found)} of {len(written)} entries; "
            f"{verified.stderr[-300:].decode(errors='replace')}"
        )


def listed(path):
    """The entries, as a native journalctl sees them."""
    argv = ["journalctl", "--file", path, "--output=cat", "--quiet"]
    return subprocess.run(argv, capture_output=True, check=False, timeout=60).stdout.splitlines()


def appears(scene, said, written, follower):
    """Entries are followed within two seconds; the journal itself takes up to a quarter of a second."""
    until = time.monotonic() + 2 * scene.options.patience
    while True:
        found = contents(said).splitlines()
        if found == written:
            return
        if time.monotonic() > until or follower.popen.poll() is not None:
            missing = [number for number, each in enumerate(written) if each not in set(found)]
            raise Wrong(f"{len(found)} of {len(written)} entries appear; missing {missing[:8]}")
        scene.pause(0.005)


for _mixture in MIXTURES:
    for _min_size in MIN_SIZES:
        scenario(
            f"followers/journal/{_mixture}/{_min_size}",
            args=(_mixture, _min_size),
            seconds=60,
            short=_min_size == "default",
        )(journal)
