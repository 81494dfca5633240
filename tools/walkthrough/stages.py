"""stages.py: what became of each box of a seed (docs/walkthroughs/NAME.stages).

    page NAME: title                             begins a page, NAME.md; the drawings that follow stand on it
    about: …                                     what the page shows; several lines are one paragraph
    BOX: sentence                                recorded: a function of that name runs below the box above
    BOX => OURS: sentence                        replaced: OURS runs at that place
    BOX => OURS @ PLACE: sentence                replaced: OURS runs below the function PLACE
    BOX => -: sentence                           waived: no function does this
    BOX => ?: sentence                           waived: not yet
    apart A B | C D: sentence                    no call had A or B, and C or D; of one list: any two of it
    order A B | C: sentence                      A, or B, comes before C in the seed; here not always
    metal BOX => OURS: sentence                  of the page: on bare metal OURS stands for it; -, @ as above
    metal show NAME …: sentence                  there, the runs show these functions, too
    metal about: …                               what is different there

A sentence is what the reader of the page learns about the box. Where a box is waived, those below it count as
its parent's. The reasons "apart" and "order" stand below the box whose children they name."""
import copy
import itertools
import re

METAL = re.compile(r"metal (?:(about)|show ([\w ]+)|(\w+) => (\w+|-)(?: @ (\w+))?): (.+)")
BOX = re.compile(r"(\w+)(?: => (\w+|-|\?)(?: @ (\w+))?)?: (.+)")
REASON = re.compile(r"(apart|order) ([\w\s|]+): (.+)")


class Stage:
    def __init__(self, name, ours, place, sentence):
        self.name, self.ours, self.place, self.sentence = name, ours, place, sentence
        self.children, self.reasons = [], []
        self.reset()

    def reset(self):
        """Before a comparison: nothing was found."""
        self.calls = []

    @property
    def waived(self):
        return self.ours in ("-", "?")

    @property
    def replaced(self):
        return not self.waived and (self.ours != self.name or self.place is not None)


class Reason:
    """pairs: of names of siblings, in the seed's order."""

    def __init__(self, kind, groups, sentence):
        self.kind, self.groups, self.sentence = kind, groups, sentence
        if len(groups) == 2:
            self.pairs = set(itertools.product(*groups))
        else:
            self.pairs = set(itertools.combinations(groups[0], 2))


class Page:
    """metal: {box: (ours, place, sentence)} where bare metal is different; shown: {name: sentence}."""

    def __init__(self, name, title):
        self.name, self.title, self.about, self.drawings = name, title, [], []
        self.metal_about, self.metal, self.shown = [], {}, {}

    def metal_drawings(self):
        """The drawings, as bare metal has them."""
        drawings = copy.deepcopy(self.drawings)
        for stage in walk(drawings):
            if stage.name in self.metal:
                stage.ours, stage.place, stage.sentence = self.metal[stage.name]
        return drawings


class Stages:
    def __init__(self, name):
        self.name, self.pages, self.errors = name, [], []

    def drawings(self):
        return [drawing for page in self.pages for drawing in page.drawings]


def walk(stages):
    for stage in stages:
        yield stage
        yield from walk(stage.children)


def live(stages):
    """The stages that must run; in place of one that is waived, those below it."""
    for stage in stages:
        if stage.waived:
            yield from live(stage.children)
        else:
            yield stage


def read_metal(page, about, shown, box, ours, place, sentence):
    if about:
        page.metal_about.append(sentence)
    elif shown:
        page.shown.update(dict.fromkeys(shown.split(), sentence))
    else:
        page.metal[box] = (ours, place, sentence)
        return box in {stage.name for stage in walk(page.drawings)}
    return True


def read_line(stages, stack, line):
    """False: the line is none of those above."""
    depth = len(line) - len(line.lstrip("\t"))
    page = re.fullmatch(r"page ([\w-]+): (.+)", line)
    if page:
        stages.pages.append(Page(page[1], page[2]))
        return True
    if not stages.pages or depth > len(stack):
        return False
    if line.startswith("about: "):
        stages.pages[-1].about.append(line[7:])
        return True
    metal = METAL.fullmatch(line)
    if metal:
        return read_metal(stages.pages[-1], *metal.groups())
    reason, box = REASON.fullmatch(line.strip()), BOX.fullmatch(line.strip())
    if reason and depth > 0:
        groups = [group.split() for group in reason[2].split("|")]
        stack[depth - 1].reasons.append(Reason(reason[1], groups, reason[3]))
        return len(groups) <= 2
    if box:
        stage = Stage(box[1], box[2] or box[1], box[3], box[4])
        del stack[depth:]
        (stack[-1].children if stack else stages.pages[-1].drawings).append(stage)
        stack.append(stage)
    return bool(box)


def read_stages(path):
    stages, stack = Stages(path.stem), []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#") and not read_line(stages, stack, line):
            stages.errors.append(f"{path.name}:{number}: not a stage: {line.strip()}")
    return stages


def mirror(boxes, stages, above):
    """Where the stages are not the seed's boxes, one for one."""
    for box, stage in itertools.zip_longest(boxes, stages):
        if box is None or stage is None or box.name != stage.name:
            names = [one.name if one else "nothing" for one in (box, stage)]
            yield f"below {above}, the seed has {names[0]} where the stages have {names[1]}"
            return
        yield from mirror(box.children, stage.children, box.name)


def check_stages(stages, seed):
    """What is wrong with the stages before anything runs."""
    yield from stages.errors
    drawings = stages.drawings()
    ours = {drawing.name: drawing for drawing in drawings}
    for drawing in seed.drawings:
        yield from mirror([drawing], [ours[drawing.name]] if drawing.name in ours else [], "the seed")
    if len(drawings) != len(seed.drawings):
        yield f"the seed has {len(seed.drawings)} drawings, and the stages have {len(drawings)}"
