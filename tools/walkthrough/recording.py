"""recording.py: one run of the recorder, as trees of calls.

    Scenario ─▶ Call ─▶ Call …        the calls of all threads, in the order of time

What a checker calls (vm_map_check, vm_page_check_all, …) is no step of a path and is left out; a recording of
the end of the machine is an error."""
import re
import subprocess
import sys
import tempfile

CHECKER = re.compile(r"\w+_check(_all)?")
SHUTDOWN = "sim_shutdown"


class Call:
    """values: of the parameters, by name; outputs: what pointers among them point to afterwards. inside: the
    names of all that it calls, at any depth."""

    def __init__(self, function, thread, time):
        self.function, self.thread, self.time, self.end = function, thread, time, time
        self.name, self.children = function.name, []
        self.values, self.outputs, self.result, self.inside = {}, {}, None, frozenset()


class Scenario:
    """counters: (name, before, after) of those that changed."""

    def __init__(self, name):
        self.name, self.calls, self.counters = name, [], []


class Root:
    """What all calls of a recording are below."""

    def __init__(self, calls):
        self.name, self.children, self.inside = "", calls, names_of(calls)


def recorded_parameters(function):
    """Those that are numbers or pointers; the recorder has room for ten."""
    return [parameter for parameter in function.parameters if parameter.type.size <= 8][:10]


def points_to(parameter):
    """Bytes of the number or pointer that an output parameter points to."""
    return parameter.type.target.size if parameter.type.target is not None else 0


def write_table(file, functions):
    main = next(address for address, function in functions.items() if function.name == "main")
    file.write(f"{main:x}\n")
    for address in sorted(functions):
        function = functions[address]
        words = [f"{p.offset}:{p.type.size}:{points_to(p)}" for p in recorded_parameters(function)]
        file.write(f"{address:x} {int(function.has_result)} {' '.join(words)}\n")
    file.flush()


def run(recorder, functions, name):
    with tempfile.NamedTemporaryFile("w", suffix=".table") as table:
        write_table(table, functions)
        out = subprocess.run([recorder, name, table.name], capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"{recorder} {name}: {out.stderr.strip()}")
    return out.stdout.splitlines()


def enter(call, values):
    for parameter, value in zip(recorded_parameters(call.function), values):
        call.values[parameter.name] = int(value, 16)


def leave(call, values):
    values = [int(value, 16) for value in values]
    if call.function.has_result and values:
        call.result = values.pop(0)
    outs = [parameter for parameter in recorded_parameters(call.function) if points_to(parameter)]
    for parameter, value in zip(outs, values):
        call.outputs[parameter.name] = value


def record(recorder, functions, name):
    """The scenarios of a page."""
    scenarios, stacks, time = [], {}, 0
    for line in run(recorder, functions, name):
        word, _, rest = line.partition(" ")
        if word == "scenario":
            scenarios.append(Scenario(rest))
            stacks = {}
            continue
        if word == "counter":
            counter, before, after = re.fullmatch(r"(.+): (\d+) -> (\d+)", rest).groups()
            scenarios[-1].counters.append((counter, int(before), int(after)))
            continue
        thread, sign, address, *values = line.split()
        stack, time = stacks.setdefault(thread, []), time + 1
        if sign == "+":
            call = Call(functions[int(address, 16)], int(thread), time)
            enter(call, values)
            (stack[-1].children if stack else scenarios[-1].calls).append(call)
            stack.append(call)
        elif stack:
            stack[-1].end = time
            leave(stack.pop(), values)
    for scenario in scenarios:
        scenario.calls = without_checkers(scenario.calls)
    return scenarios


def names_of(calls):
    """The names of the calls, and of all that is inside of them."""
    return frozenset().union(*(call.inside for call in calls), (call.name for call in calls))


def without_checkers(calls):
    kept = [call for call in calls if not CHECKER.fullmatch(call.name)]
    for call in kept:
        if call.children:
            call.children = without_checkers(call.children)
            call.inside = names_of(call.children)
    return kept


def walk(calls):
    """Every call, a caller before what it calls."""
    for call in calls:
        yield call
        yield from walk(call.children)


def calls_of(scenarios):
    return [call for scenario in scenarios for call in scenario.calls]


def faults(scenarios):
    """What is wrong with the scenarios themselves."""
    for scenario in scenarios:
        if not scenario.calls:
            yield f"the scenario '{scenario.name}' is empty"
        if SHUTDOWN in names_of(scenario.calls):
            yield f"the scenario '{scenario.name}' records the end of the machine"
