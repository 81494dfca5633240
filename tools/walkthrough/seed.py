"""seed.py: the seeds as data (docs/walkthroughs/NAME.seed): what Faultline is held against.

    seed: its title                  a header, with the counts of the seed itself
    drawings: …  boxes: …  names: …
    within: NAME                     every box of it is a box of that seed, in the same order (a first draft)

    ROOT                             a drawing; a tab for each level
    <tab>NAME

    file NAME: FUNCTION …            the seed's reading list

The counts and a checksum of each seed stand in a file of their own (tests/walkthrough/seeds.sum), with the
totals, so that a seed cannot lose a box unnoticed."""
import hashlib
import re

COUNTS = ("drawings", "boxes", "names")


class Box:
    def __init__(self, name):
        self.name, self.children = name, []


class Seed:
    def __init__(self, name):
        self.name, self.header, self.drawings, self.files = name, {}, [], []
        self.lines, self.errors = [], []

    def boxes(self):
        return sum(1 for _ in walk(self.drawings))

    def names(self):
        return {box.name for box in walk(self.drawings)}

    def counts(self):
        return len(self.drawings), self.boxes(), len(self.names())

    def checksum(self):
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]


def walk(boxes):
    for box in boxes:
        yield box
        yield from walk(box.children)


def read_seed(path):
    seed, stack = Seed(path.stem), []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        header = re.fullmatch(r"(seed|within|drawings|boxes|names): (.+)", line)
        file = re.fullmatch(r"file (\S+): (.+)", line)
        box = re.fullmatch(r"(\t*)(\w+)", line)
        if header:
            seed.header[header[1]] = header[2]
        elif file:
            seed.files.append((file[1], file[2].split()))
        elif box and len(box[1]) <= len(stack):
            del stack[len(box[1]) :]
            (stack[-1].children if stack else seed.drawings).append(Box(box[2]))
            stack.append((stack[-1].children if stack else seed.drawings)[-1])
            seed.lines.append(line)
        elif line.strip() and not line.startswith("#"):
            seed.errors.append(f"{path.name}:{number}: not a box: {line.strip()}")
    return seed


def read_sums(path):
    """{seed's name: (drawings, boxes, names, checksum)}; the line "all" has the totals."""
    sums = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, drawings, boxes, names, checksum = line.split()
            sums[name] = (int(drawings), int(boxes), int(names), checksum)
    return sums


def contained(small, large):
    """Is each tree of `small` in `large`, in the same order and nesting?"""
    at = 0
    for box in small:
        while at < len(large) and not (
            large[at].name == box.name and contained(box.children, large[at].children)
        ):
            at += 1
        if at == len(large):
            return False
        at += 1
    return True


def check_seed(seed, seeds, sums):
    """What is wrong with one seed's data."""
    yield from seed.errors
    header = tuple(int(seed.header.get(name, 0)) for name in COUNTS)
    for name, said, counted in zip(COUNTS, header, seed.counts()):
        if said != counted:
            yield f"{seed.name}.seed says {said} {name}, and has {counted}"
    if sums.get(seed.name) != (*seed.counts(), seed.checksum()):
        yield f"{seed.name}.seed is not the seed of seeds.sum: {seed.counts()} {seed.checksum()}"
    within = seed.header.get("within")
    if within is not None and not contained(seed.drawings, seeds[within].drawings):
        yield f"{seed.name}.seed is not contained in {within}.seed"


def check_seeds(seeds, sums):
    """What is wrong with the data of all seeds, {name: Seed}."""
    for seed in seeds.values():
        yield from check_seed(seed, seeds, sums)
    for name in sums:
        if name not in seeds and name != "all":
            yield f"{name}.seed is missing"
    names = set().union(*(seed.names() for seed in seeds.values())) if seeds else set()
    total = [sum(seed.counts()[i] for seed in seeds.values()) for i in (0, 1)] + [len(names)]
    if tuple(total) != sums["all"][:3]:
        yield f"the seeds have {total} drawings, boxes and names, and not {list(sums['all'][:3])}"
