"""records.py: the records that the writers of one database write. They depend only on seed, writer and turn,
so a reader can check all that a commit promised.

    key            value
    count          how many turns all writers have committed together
    turn/W         the last turn that writer W committed
    W:NNNNNN       a record of writer W; each turn adds one, changes one, and takes some away
    fill/NNNNN     ballast that is never changed: it makes the database larger than the limit
"""

import hashlib
import random

FILL_BYTES = 3000
LIVE_MOST = 30


def fill_key(number):
    return b"fill/%05d" % number


def fill_value(number):
    return hashlib.shake_128(b"ballast %d" % number).digest(FILL_BYTES)


class Writer:
    """A writer's records after each turn; turn -1 is before the first."""

    def __init__(self, seed, name):
        self.rng = random.Random(f"{seed}/{name}")
        self.seed, self.name, self.turn, self.live = seed, name.encode(), -1, {}

    def advance(self):
        """The changes of the next turn: (key, value), value None to delete."""
        self.turn += 1
        changes = [(b"%s:%06d" % (self.name, self.turn), self._value())]
        if self.live:
            changes.append((self._one(), self._value()))
        if len(self.live) > LIVE_MOST:
            changes += [(key, None) for key in self.rng.sample(sorted(self.live), self.rng.randint(1, 4))]
        for key, value in changes:
            if value is None:
                self.live.pop(key, None)
            else:
                self.live[key] = value
        return changes

    def advance_to(self, turn):
        while self.turn < turn:
            self.advance()

    def _one(self):
        return self.rng.choice(sorted(self.live))

    def _value(self):
        return self.rng.randbytes(self.rng.choice((10, 300, 300, 2000, 9000)))


def wrong(snapshot, writers, least, undone=None):
    """What is wrong with a snapshot (a database's get and prefix), or None. `writers` are Writer by name,
    moved on to the turn that the snapshot is at; `least` are the turns that were promised. `undone`: a
    writer that may be killed between its last commit and its promise: LMDB undoes such a commit, even if
    it was seen already.
    """
    total = 0
    for name, writer in writers.items():
        turn = int(snapshot.get(b"turn/%s" % writer.name, b"-1"))
        if turn < least.get(name, -1):
            return f"turn {least[name]} of {name} was promised, turn {turn} is there"
        if turn == writer.turn - 1 and name == undone:
            writer = writers[name] = Writer(writer.seed, name)
        if turn < writer.turn:
            return f"turn {writer.turn} of {name} was there, and now turn {turn} is"
        writer.advance_to(turn)
        total += turn + 1
        found = dict(snapshot.prefix(b"%s:" % writer.name))
        if found != writer.live:
            return f"records of {name} at turn {turn}: {difference(found, writer.live)}"
    count = int(snapshot.get(b"count", b"0"))
    return None if count == total else f"the count is {count}, the writers' turns make {total}"


def difference(found, expected):
    lost = sorted(expected.keys() - found.keys())
    more = sorted(found.keys() - expected.keys())
    other = sorted(key for key in found.keys() & expected.keys() if found[key] != expected[key])
    sorts = (("missing", lost), ("too many", more), ("wrong", other))
    return ", ".join(f"{what} {keys[:4]} ({len(keys)})" for what, keys in sorts)
