"""hold.py: holds a recording against the stages of a seed.

A box is found when its function ran below a call of its parent's function, and not only inside a sibling. Of
its calls, those count that are about as near to the parent as any: a function like vm_page_lookup is also
called by helpers of helpers, far from the path that the seed draws.

The children of a box are compared in pairs: in every call of the parent in which both ran, the first call of
the one comes before the first call of the other. (Of a box that is drawn twice, the second call counts for
the second.) A pair that never ran in one call, or that ran in another order, needs a reason, and a reason
that is not needed is an error.

A waiver is an error when a function of that name runs below the box's parent. Where one exists, some other
recording must show where it runs instead; and a box that is waived as "not yet" must not exist at all."""
import itertools

import recording
import stages as _stages


def below(call, name):
    """Every call of `name` below this one, outermost only."""
    for child in call.children:
        if child.name == name:
            yield child
        elif name in child.inside:
            yield from below(child, name)


def outside(call, name, siblings, depth=0):
    """The same, but for those inside of a sibling's call; with how deep they are."""
    for child in call.children:
        if child.name == name:
            yield child, depth
        elif name in child.inside and child.name not in siblings:
            yield from outside(child, name, siblings, depth + 1)


def sequence(call, names, counting):
    """The functions of these names below the call, in order, as far as their calls are among those that
    count; what runs inside of them is not looked at."""
    for child in call.children:
        if child.name in names:
            if id(child) in counting:
                yield child.name
        elif not names.isdisjoint(child.inside):
            yield from sequence(child, names, counting)


def nearest(calls):
    """Of (call, depth), those that are at most one level deeper than the nearest."""
    limit = min((depth for _, depth in calls), default=0) + 1
    return [call for call, depth in calls if depth <= limit]


class Held:
    """errors: what is wrong. found: {stage: its calls}. exists, ran: names of functions that the program has,
    and that ran in some recording. part: None, or the boxes that must run; of the others, those that do are
    held."""

    def __init__(self, exists, ran, part=None):
        self.exists, self.ran, self.part, self.errors, self.found = exists, ran, part, [], {}
        self.pairs = self.ordered = 0

    def wants(self, stage):
        return self.part is None or stage.name in self.part

    def error(self, parent, text):
        self.errors.append(f"{parent}: {text}" if parent else text)


def ordinal(stage, siblings):
    """How many siblings before it stand for the same function."""
    return sum(1 for other in siblings[: siblings.index(stage)] if other.ours == stage.ours)


def in_place(stage, siblings, contexts, parent):
    others = {other.ours for other in siblings if other.ours != stage.ours}
    calls = []
    for context in contexts:
        here = list(outside(context, stage.ours, others))
        if len(here) > ordinal(stage, siblings):
            calls += here
    return nearest(calls) if parent else [call for call, _ in calls]


def absence(stage, siblings, contexts):
    if not any(next(below(context, stage.ours), None) for context in contexts):
        return "did not run"
    if ordinal(stage, siblings) > 0:
        return "did not run again"
    return "ran only inside a sibling"


def find(held, stage, siblings, contexts, roots, parent):
    """The calls of the stage's function where the stage says that they are."""
    calls = in_place(stage, siblings, contexts, parent)
    if stage.place is None:
        if stage.ours != stage.name and any(next(below(c, stage.name), None) for c in contexts):
            held.error(parent, f"{stage.name} runs here itself, and needs no {stage.ours}")
        if not calls and held.wants(stage):
            held.error(parent, f"{stage.ours}, for {stage.name}, {absence(stage, siblings, contexts)}")
        return calls
    if calls:
        held.error(parent, f"{stage.ours}, for {stage.name}, does run here, and not only below {stage.place}")
    root = recording.Root(roots)
    there = nearest([c for place in below(root, stage.place) for c in outside(place, stage.ours, ())])
    if not there and held.wants(stage):
        held.error(parent, f"{stage.ours}, for {stage.name}, did not run below {stage.place}")
    return there


def position(order, stage, siblings):
    """Where the stage's call stands in the order of a context's calls. None: nowhere."""
    at, skip = -1, ordinal(stage, siblings)
    for _ in range(skip + 1):
        try:
            at = order.index(stage.ours, at + 1)
        except ValueError:
            return None
    return at


def pair_seen(orders, first, second, siblings):
    """(together, reversed): in some call both ran; in some call they ran the other way round."""
    together = swapped = False
    for order in orders:
        a, b = position(order, first, siblings), position(order, second, siblings)
        if a is not None and b is not None:
            together, swapped = True, swapped or b < a
    return together, swapped


def hold_order(held, parent, reasons, siblings, contexts):
    """Every pair of siblings that are in place."""
    placed = [s for s in siblings if s.place is None and s in held.found]
    names, counting = {s.ours for s in siblings}, {id(call) for s in placed for call in held.found[s]}
    orders = [list(sequence(context, names, counting)) for context in contexts]
    left = [(reason.kind, pair) for reason in reasons for pair in reason.pairs]
    for first, second in itertools.combinations(placed, 2):
        names = (first.name, second.name)
        together, swapped = pair_seen(orders, first, second, siblings)
        need = "apart" if not together else "order" if swapped else None
        held.pairs += 1
        held.ordered += need is None
        if need == "apart" and held.part is not None:
            continue
        if need is not None and (need, names) not in left:
            held.error(parent, f"{names[0]} and {names[1]} {COMPLAINT[need]}")
        elif need is not None:
            left.remove((need, names))
    for kind, names in left if held.part is None else ():
        held.error(parent, f"the reason '{kind} {names[0]} | {names[1]}' is not needed")


COMPLAINT = {"apart": "never ran in one call", "order": "ran in another order"}


def hold_waived(held, stages, contexts, parent):
    for stage in stages:
        if not stage.waived:
            continue
        if any(next(below(context, stage.name), None) for context in contexts):
            held.error(parent, f"{stage.name} is waived, and runs")
        elif stage.ours == "?" and stage.name in held.exists:
            held.error(parent, f"{stage.name} is waived as not yet there, and exists")
        elif held.part is None and stage.name in held.exists - held.ran:
            held.error(parent, f"{stage.name} is waived, and exists, and no recording shows where it runs")
        hold_waived(held, stage.children, contexts, parent)


def hold(held, stages, contexts, roots, parent="", reasons=()):
    """contexts: the calls below which the stages are to be found; roots: all calls of the page."""
    siblings = list(_stages.live(stages))
    hold_waived(held, stages, contexts, parent)
    for stage in siblings:
        calls = find(held, stage, siblings, contexts, roots, parent)
        if calls:
            held.found[stage] = calls
            hold(held, stage.children, calls, roots, stage.name, all_reasons(stage))
        else:
            held_nothing(held, stage)
    if parent:
        hold_order(held, parent, reasons, siblings, contexts)


def held_nothing(held, stage):
    """What is below a box that was not found was not looked for."""
    for below_it in _stages.walk(stage.children):
        if not below_it.waived and held.wants(below_it):
            held.error(stage.name, f"{below_it.ours}, for {below_it.name}, was not looked for")


def all_reasons(stage):
    """Its own, and those of boxes below it that are waived, whose children count as its own."""
    reasons = list(stage.reasons)
    for child in stage.children:
        if child.waived:
            reasons += all_reasons(child)
    return reasons


def hold_page(held, page, scenarios):
    """A page's drawings have no order among themselves."""
    hold_drawings(held, page.drawings, scenarios)


def hold_drawings(held, drawings, scenarios):
    held.errors += recording.faults(scenarios)
    roots = recording.calls_of(scenarios)
    for drawing in drawings:
        hold(held, [drawing], [recording.Root(roots)], roots)
