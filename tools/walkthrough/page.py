"""page.py: the pages of docs/walkthroughs: a seed's boxes beside ours, what ran, and what to read.

Of a run, a page shows the calls that stand for a box, and those on the way to them. Everything else (locks,
the radix tree's insides, lists, counters) is folded away; the other steps of such a call are named in one
line. Calls in a row that are alike are drawn once, others of one name are numbered."""
import re

import recording
import stages as _stages
import values

WIDTH = 116
COLUMN = 57
STEPS = 5  # other steps of one call that are named
# What is no step for a reader: locks, counters, the small functions that every path has.
HELPER = re.compile(
    r"(vm_lock|vm_trylock|vm_unlock|vm_rwlock|vm_count|vm_meta|vm_page_of|vm_page_frame|vm_radix|machine_self|"
    r"machine_lock|machine_unlock|tree_|vm_zone|min_u|max_u|size_pages|vm_pager_ops|vm_object_vnode|slot_|node_)"
    r"|.*_(assert|check)$"
)
# A thread that has called one of these is a daemon.
DAEMONS = {
    "pageout_main": "the page daemon",
    "disk_fiber_main": "the disk",
    "disk_transfer_next": "the disk",  # of a recording that began while the disk was asleep
    "prefault_main": "the prefault daemon",
    "flusher_main": "the flusher",
}
PORT = re.compile(r"(machine_|sim_|alltraps|trap|fast_syscall|syscall_trap)")  # what is shown of a machine
METAL_THREADS = {"idle": "the idle thread", "virtio_blk": "the disk's thread"}  # by the kernel's names
# Where something lies in physical memory, or in the disk's ring, and what time it is, differs from run to
# run.
METAL_LEFT_OUT = {"frame", "pa", "pte", "value", "head", "now", "when_ns", "deadline_ns"}
LEFT_OUT = {"va", "addr", "start", "end", "len_bytes", "access", "prot", "flags", "deadline_ns"}  # in columns


class Run:
    """What a page shows of one scenario. shown: identities of calls, those of boxes among them in `boxes`;
    and calls of the functions `also`. told: the lines of other steps that the page has shown already."""

    def __init__(self, scenario, held, told, also=()):
        self.scenario, self.told, self.names, self.shown = scenario, told, values.Names(), set()
        self.boxes, elsewhere = set(), {}
        for stage, calls in held.found.items():
            for call in calls:
                if stage.place is None:
                    self.boxes.add(id(call))
                else:
                    elsewhere[id(call)] = stage.place
        self.boxes |= {id(call) for call in self.others(scenario.calls, also, False)}
        path = [self.mark(call, self.boxes) for call in scenario.calls]
        for call, shown in zip(scenario.calls, path):
            self.mark_elsewhere(call, elsewhere, [] if shown else None)

    def others(self, calls, also, inside):
        """The calls of the functions `also`: those inside of a box, and in the kernel's own threads all."""
        for call in calls:
            if call.name in also and (inside or self.scenario.threads.get(call.thread) in METAL_THREADS):
                yield call
            yield from self.others(call.children, also, inside or id(call) in self.boxes)

    def mark(self, call, boxes):
        """Shows the call if it is one of the boxes, or on the way to one."""
        inside = [self.mark(child, boxes) for child in call.children]
        if id(call) in boxes or any(inside):
            self.shown.add(id(call))
        return id(call) in self.shown

    def mark_elsewhere(self, call, elsewhere, above):
        """Boxes that run at another place are shown if that place is; or all, where no other box runs. above:
        the names of the calls that are shown above this one, or None."""
        if id(call) in elsewhere and (above is None or elsewhere[id(call)] in above):
            self.boxes.add(id(call))
            self.shown.add(id(call))
        if above is not None and self.shows(call):
            above = above + [call.name]
        for child in call.children:
            self.mark_elsewhere(child, elsewhere, above)
            if self.shows(child):
                self.shown.add(id(call))

    def shows(self, call):
        return id(call) in self.shown

    def hoisted(self, call):
        """A machine's inside: what it calls is drawn in its place."""
        inside = call.function.file.startswith("machines/") and not PORT.match(call.name)
        return inside and id(call) not in self.boxes

    def calls(self, calls):
        """Those that are drawn, of calls and of what is hoisted among them."""
        for call in calls:
            if self.shows(call):
                if self.hoisted(call):
                    yield from self.calls(call.children)
                else:
                    yield call

    def shape(self, call):
        return (call.name, tuple(self.shape(child) for child in self.calls(call.children)))


class Line:
    def __init__(self, thread, time, depth, text):
        self.thread, self.time, self.depth, self.text = thread, time, depth, text


def call_text(run, call, number, leave_out):
    words, after = values.parameters(call, run.names, leave_out), values.result(call, run.names, leave_out)
    text = call.name + (f" #{number}" if number else "") + (f"({', '.join(words)})" if words else "")
    return text + (f" = {', '.join(after)}" if after else "")


def other_steps(run, call):
    names = [
        child.name
        for child in call.children
        if not run.shows(child) and child.function.file.startswith("core/")
        if not HELPER.match(child.name)
    ]
    names = list(dict.fromkeys(names))
    text = ", ".join(names[:STEPS] + (["…"] if len(names) > STEPS else []))
    if not text or (call.name, text) in run.told:
        return ""
    run.told.add((call.name, text))
    return "· " + text


def groups(run, calls):
    """Calls of one thread in a row that are alike, as lists of them."""
    rows = []
    for call in calls:
        if rows and rows[-1][0].thread == call.thread and run.shape(rows[-1][0]) == run.shape(call):
            rows[-1].append(call)
        else:
            rows.append([call])
    return rows


def lines(run, calls, leave_out=(), depth=0):
    rows, seen = groups(run, run.calls(calls)), {}
    several = [(row[0].thread, row[0].name) for row in rows]
    for row in rows:
        first, one = row[0], (row[0].thread, row[0].name)
        seen[one] = seen.get(one, 0) + 1
        number = seen[one] if several.count(one) > 1 else 0
        yield Line(first.thread, first.time, depth, call_text(run, first, number, leave_out))
        yield from lines(run, first.children, leave_out, depth + 1)
        steps = other_steps(run, first)
        if steps:
            yield Line(first.thread, first.end, depth + 1, steps)
        if len(row) > 1:
            yield Line(first.thread, row[-1].time, depth, f"… {len(row) - 1} more of {first.name}")


def cut(text, width):
    """Of a call that is too long, the parameters go first: what it returned says more."""
    head, end, result = text.partition(") = ")
    if len(text) > width and end and head.index("(") + len(result) + 6 <= width:
        head = re.sub(r"(?<=[(,])[^(,]*$", "", head[: width - len(result) - 6])
        return f"{head}{' ' * head.endswith(',')}…{end}{result}"
    return text if len(text) <= width else text[: width - 1] + "…"


def threads_of(run):
    """{thread: its title}, in the order in which they come."""
    if run.scenario.threads:
        return metal_threads_of(run)
    daemons = {call.thread: DAEMONS[call.name] for call in recording.walk(run.scenario.calls) if call.name in DAEMONS}
    titles, count = {}, 0
    for call in run.calls(run.scenario.calls):
        if call.thread not in titles:
            count += call.thread not in daemons
            titles[call.thread] = daemons.get(call.thread, f"thread {count}")
    return titles


def metal_threads_of(run):
    """Two threads of a program may do the same: the first one is whoever came first."""
    drawn = [call for call in recording.walk(run.scenario.calls) if run.shows(call) and not run.hoisted(call)]
    titles, count = {}, 0
    for call in sorted(drawn, key=lambda call: call.time):
        if call.thread not in titles:
            name = run.scenario.threads[call.thread]
            count += name not in METAL_THREADS
            titles[call.thread] = METAL_THREADS.get(name, f"thread {count}")
    return titles


def columns(run, titles):
    """One column for each thread, as wide as it needs; a row has the call that came next."""
    drawn = sorted(lines(run, run.scenario.calls, LEFT_OUT | METAL_LEFT_OUT), key=lambda line: line.time)
    cells = [(list(titles).index(line.thread), cut(" " * line.depth + line.text, COLUMN)) for line in drawn]
    widths = [max(len(title), *(len(cell) for i, cell in cells if i == at)) for at, title in enumerate(titles.values())]
    rows = [list(titles.values())] + [[cell if i == at else "" for at in range(len(widths))] for i, cell in cells]
    text = [" │ ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return text[:1] + ["─┼─".join("─" * width for width in widths)] + text[1:]


def run_text(run):
    scenario, titles = run.scenario, threads_of(run)
    text = ["", f"### {scenario.name[0].upper()}{scenario.name[1:]}", ""]
    if scenario.counters:
        text += wrapped("What changed: " + ", ".join(changes(scenario)) + ".")
        text.append("")
    if not titles:
        return []
    text.append("```txt")
    if len(titles) > 1:
        text += columns(run, titles)
    else:
        leave_out = METAL_LEFT_OUT if scenario.threads else ()
        text += [cut("  " * line.depth + line.text, WIDTH) for line in lines(run, scenario.calls, leave_out)]
    return text + ["```"]


def changes(scenario):
    """On bare metal only by how much: what was there before is not the scenario's."""
    for name, before, after in scenario.counters:
        yield f"{name} {after - before:+}" if scenario.threads else f"{name} {before} → {after}"


def wrapped(text, width=118):
    rows = [""]
    for word in text.split():
        if rows[-1] and len(rows[-1]) + 1 + len(word) > width:
            rows.append("")
        rows[-1] += (" " if rows[-1] else "") + word
    return rows


# ---- the tables ----


def place(function):
    name = function.file.rsplit("/", 1)[-1]
    return f"[{name}:{function.line}](../../{function.file}#L{function.line})"


def box_row(stage, depth, functions):
    left = "·\u00a0" * depth + f"`{stage.name}`"  # no line breaks between them
    if stage.waived:
        return f"| {left} | {'not yet' if stage.ours == '?' else 'none'} | | {stage.sentence} |"
    ours = "the same" if stage.ours == stage.name else f"`{stage.ours}`"
    ours += f", in `{stage.place}`" if stage.place else ""
    function = functions.get(stage.ours)
    return f"| {left} | {ours} | {place(function) if function else ''} | {stage.sentence} |"


def box_rows(stages, functions, depth=0):
    for stage in stages:
        yield box_row(stage, depth, functions)
        yield from box_rows(stage.children, functions, depth + 1)


def reason_rows(stages):
    """What the seed draws in one row, and never comes so here."""
    for stage in _stages.walk(stages):
        for reason in stage.reasons:
            names = ["`" + "`, `".join(group) + "`" for group in reason.groups]
            if reason.kind == "order":
                yield f"- {names[0]} before {names[1]}: {reason.sentence}"
            elif len(names) == 2:
                yield f"- {names[0]} and {names[1]} in one call: {reason.sentence}"
            else:
                yield f"- two of {names[0]} in one call: {reason.sentence}"


def drawing_text(drawing, functions):
    text = ["", f"### `{drawing.name}`", "", "| the seed | here | where | what it does |", "|---|---|---|---|"]
    text += box_rows([drawing], functions)
    reasons = [row for line in reason_rows([drawing]) for row in hanging(line)]
    if reasons:
        text += ["", "The seed has, and a run here has not, or not always:", ""] + reasons
    return text


def hanging(line):
    rows = wrapped(line)
    return rows[:1] + ["  " + row for row in rows[1:]]


def reading_text(page, seed, functions):
    """Our files, in the order in which the boxes lead to them; and where the seed says that its own stand."""
    theirs = {name: file for file, names in seed.files for name in names}
    files = {}
    for stage in _stages.walk(page.drawings):
        function = functions.get(stage.ours)
        if function is not None and function.file:
            files.setdefault(function.file, {}).setdefault(stage.ours, theirs.get(stage.name))
    text = ["", "## Reading list", "", "| file | functions, in the order of the boxes |", "|---|---|"]
    for file, names in files.items():
        own = file.rsplit("/", 1)[-1]
        words = [f"`{n}`" + (f" (the seed: {f})" if f and f != own else "") for n, f in names.items()]
        text.append(f"| [{file}](../../{file}) | {', '.join(words)} |")
    return text if files else []


class Metal:
    """What ran on bare metal: drawings and held are its own. functions: {name: Function} of the kernel."""

    def __init__(self, page, drawings, held, scenarios, functions):
        self.page, self.drawings, self.held = page, drawings, held
        self.scenarios, self.functions = scenarios, functions

    def place(self, stage):
        calls = self.held.found.get(stage)
        return calls[0].function if calls else None


def metal_rows(metal):
    """The boxes that are not the core's, and the other functions that the runs show."""
    for stage in _stages.walk(metal.drawings):
        function = metal.place(stage)
        if function is None or function.file.startswith("core/") and stage.name not in metal.page.metal:
            continue
        yield box_row(stage, 0, {stage.ours: function})
    for name, sentence in metal.page.shown.items():
        if name not in {stage.ours for stage in metal.held.found}:
            yield f"| | `{name}` | {place(metal.functions[name])} | {sentence} |"


def metal_text(metal):
    stages = [stage for stage in _stages.walk(metal.drawings) if not stage.waived]
    absent = [f"`{stage.name}`" for stage in stages if stage not in metal.held.found]
    text = ["", "## On bare metal", ""]
    text += wrapped(
        "The same path in the kernel of `kernel/` on `machines/x86_64`: a static program runs on it in QEMU, with one "
        f"CPU and a disk. {len(stages) - len(absent)} of {len(stages)} boxes run here, in the seed's order and by the "
        "reasons above. The core's functions are the same ones as on `sim`; these are not the core's:"
    )
    text += ["", "| the seed | here | where | what it does |", "|---|---|---|---|", *metal_rows(metal)]
    text += [""] + wrapped(" ".join(metal.page.metal_about)) if metal.page.metal_about else []
    if absent:
        text += [""] + wrapped(f"No run here needs {', '.join(absent)}.")
    told = set()
    for scenario in metal.scenarios:
        text += run_text(Run(scenario, metal.held, told, metal.page.shown))
    return text


def page_text(page, seed, held, scenarios, functions, metal):
    """functions: {name: Function}. metal: a Metal, or None."""
    text = [f"# {page.title}", ""]
    text += wrapped(
        f"Made by `make walkthroughs` from runs on the machine `sim`{' and on bare metal' if metal else ''}. "
        f"The seed is \"{seed.header['seed']}\"; "
        "`README.md` explains the pages, and `figures.md` has the pictures."
    )
    text += [""] + wrapped(" ".join(page.about))
    text += ["", "## The boxes"]
    for drawing in page.drawings:
        text += drawing_text(drawing, functions)
    if scenarios:
        text += ["", "## The runs"]
        told = set()
        for scenario in scenarios:
            text += run_text(Run(scenario, held, told))
    if metal is not None:
        text += metal_text(metal)
    text += reading_text(page, seed, functions)
    return "\n".join(text) + "\n"


def names_text(seeds):
    """names.md from [(seed, stages)]: what stands here for each name without a function of its own."""
    text = ["# The seeds' names that are not ours", ""]
    text += wrapped(
        "Made by `make walkthroughs` from the `.stages` files. `README.md` says how to read and change it. A name "
        "that is missing here is a function of ours, at the place that the seed gives it."
    )
    for seed, stages in seeds:
        text += ["", f"## {seed.header['seed']}", "", "| the seed | here | why |", "|---|---|---|"]
        rows = dict.fromkeys(
            f"| `{s.name}` | {names_here(s)} | {s.sentence} |"
            for s in _stages.walk(stages.drawings())
            if s.waived or s.replaced
        )
        text += rows
    return "\n".join(text) + "\n"


def names_here(stage):
    if stage.waived:
        return "not yet" if stage.ours == "?" else "none"
    return f"`{stage.ours}`" + (f", in `{stage.place}`" if stage.place else "")


LINE_NUMBER = re.compile(r":\d+\]\((\S+?)#L\d+\)")


def without_lines(text):
    """The text, but for the numbers of lines: they move with every change above them."""
    return LINE_NUMBER.sub(r"](\1)", text)
