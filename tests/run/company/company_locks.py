"""company_locks.py: a counter in a mapped file that two to four processes increment under a lock of every
kind: n times 1,000 increments are n thousand.

    locks/KIND/MIXTURE/MINSIZE     locks/setlkw/FFN/default
    locks/same-KIND/…              the lock lies in the counter's own file
    locks/joined/KIND/MIXTURE      the others map the file while the first one counts: no lock is lost
"""

import itertools
import os

from company_databases import MIN_SIZES, MIXTURES
from peer import PAGE, Peer, contents, new_file, pages
from scene import Wrong, scenario

FILE_LOCKS = ("setlk", "setlkw", "ofd", "ofdw", "flock", "tflock", "lockf", "tlockf")
MEMORY_LOCKS = (
    "mutex",
    "trymutex",
    "timedmutex",
    "robust",
    "wrlock",
    "trywrlock",
    "timedwrlock",
    "sem",
    "trysem",
    "timedsem",
)
NOTICE_SECONDS = 0.1
COUNTER, LOCK = 5 * PAGE + 24, 8 * PAGE
LENGTH = 512 * PAGE
TURNS_JOINED = 2500


def all_counted(peers, path, turns, when=""):
    """Each of them was sent `count` with so many turns: all must end, and no increment may be lost."""
    for peer in peers:
        back = peer.answer()
        if not back.startswith("0 "):
            raise Wrong(f"{when}counting: {back}")
    for peer in peers:
        peer.ends()
    found = int.from_bytes(contents(path)[COUNTER : COUNTER + 8], "little")
    if found != turns * len(peers):
        raise Wrong(f"{when}{len(peers)} times {turns} increments make {found}")


def counted(scene, kind, mixture, min_size, same):
    turns = 1000 if kind in MEMORY_LOCKS or not scene.options.short else 300
    path = new_file(scene, "counter", pages(LENGTH // PAGE))
    with open(path, "r+b") as file:
        file.seek(COUNTER)
        file.write(bytes(8))
    locks = new_file(scene, "locks", bytes(PAGE))
    under = {
        "memory": scene.rng.choice(("2M", "16M")),
        "min_size": MIN_SIZES[min_size],
        "engine": scene.rng.choice((None, None, "thread")),
    }
    order = scene.rng.sample(mixture, len(mixture))
    scene.say(f"{''.join(order)} {under}")
    name = f"/company-{os.getpid()}-{scene.seed}-{id(scene)}"
    peers = []
    for place in order:
        peer = Peer(scene, under if place == "F" else None)
        peer.mapped(path, LENGTH)
        peer.mapped(locks, PAGE, mapping="l", file="g")
        peer.sum("m", LENGTH)
        peers.append(peer)
        if kind == "semopen":
            peer.do("init", "semopen", name, 0)
        elif len(peers) == 1 and kind in MEMORY_LOCKS:
            peer.do("init", kind, "m" if same else "l", LOCK if same else 0)
            if same:
                peer.do("msync", "m", "sync")
    if kind == "semopen":
        peers[0].do("init", "unlink", name, 0)
    if same or min_size == "min0":
        scene.pause(NOTICE_SECONDS)  # what the lock lies in is no managed file from now on
    object_at = ("f", 0) if kind in FILE_LOCKS else ("m", LOCK) if same else ("l", 0)
    for peer in peers:
        peer.send("count", "m", COUNTER, turns, kind, *object_at)
    all_counted(peers, path, turns)


def joined(scene, kind, mixture):
    """Repeatedly: the first counts already when the others open and map the file."""
    for turn in range(3 if scene.options.short else 15):
        path = new_file(scene, f"counter{turn}", bytes(LENGTH))
        locks = new_file(scene, f"locks{turn}", bytes(PAGE))
        under = {
            "memory": "16M",
            "min_size": scene.rng.choice((None, 0)),
            "engine": scene.rng.choice((None, "thread")),
        }
        peers = [Peer(scene, under if place == "F" else None) for place in mixture]
        for number, peer in enumerate(peers):
            if number > 0:
                scene.pause(scene.rng.random() * 0.01)
            peer.mapped(path, LENGTH)
            peer.mapped(locks, PAGE, mapping="l", file="g")
            if number == 0 and kind in MEMORY_LOCKS:
                peer.do("init", kind, "l", 0)
            peer.send(
                "count", "m", COUNTER, TURNS_JOINED, kind, *(("f", 0) if kind in FILE_LOCKS else ("l", 0))
            )
        all_counted(peers, path, TURNS_JOINED, f"turn {turn}, {under}: ")
        scene.processes.clear()


SHORT = {
    ("setlkw", "FF"),
    ("ofdw", "FN"),
    ("flock", "FFN"),
    ("lockf", "FN"),
    ("setlk", "FN"),
    ("mutex", "FN"),
    ("mutex", "FFN"),
    ("wrlock", "FN"),
    ("sem", "FN"),
    ("semopen", "FF"),
    ("timedmutex", "FF"),
}


def register():
    for kind, mixture, min_size in itertools.product(
        (*FILE_LOCKS, *MEMORY_LOCKS, "semopen"), MIXTURES, MIN_SIZES
    ):
        for same in (False, True) if kind in MEMORY_LOCKS else (False,):
            short = (kind, mixture) in SHORT and min_size == "default" and not same
            short |= (kind, mixture, same) == ("mutex", "FN", True)
            name = f"locks/{'same-' if same else ''}{kind}/{mixture}/{min_size}"
            scenario(name, (kind, mixture, min_size, same), seconds=30, short=short)(counted)
    for kind, mixture in itertools.product((*FILE_LOCKS, "mutex", "sem"), ("FF", "FN", "NF", "FFN", "FFF")):
        scenario(
            f"locks/joined/{kind}/{mixture}",
            (kind, mixture),
            seconds=60,
            short=kind in ("setlkw", "ofdw", "mutex") and mixture == "FF",
        )(joined)


register()
