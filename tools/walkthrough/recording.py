"""recording.py: runs of the recorders, on the sim and in the kernel, as trees of calls.

    Scenario ─▶ Call ─▶ Call …        the calls of all threads, in the order of time

What a checker calls (vm_map_check, vm_page_check_all, …) is no step of a path and is left out; a recording of
the end of the machine is an error."""
import bisect
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import kernel_machine

CHECKER = re.compile(r"\w+_check(_all)?")
SHUTDOWN = "sim_shutdown"
KERNEL = "walkthrough_kernel.elf"
BOOT_S = 120  # seconds; a boot takes three
BOOTS_MAX = 4
# Of the disk, in a second. A read right behind others so takes some 50 ms, and the thread sleeps before the
# answer.
IOPS = 20
PARAMETERS = 10  # of one call: CALLS_PARAMETERS (tests/walkthrough/calls.h)


class Call:
    """values: of the parameters, by name; outputs: what pointers among them point to afterwards. inside: the
    names of all that it calls, at any depth."""

    def __init__(self, function, thread, time):
        self.function, self.thread, self.time, self.end = function, thread, time, time
        self.name, self.children, self.assembler = function.name, [], False
        self.values, self.outputs, self.result, self.inside = {}, {}, None, frozenset()


class Scenario:
    """counters: (name, before, after) of those that changed. pages, threads: of the kernel's: on which pages
    it stands; {thread: its name}."""

    def __init__(self, name, pages=()):
        self.name, self.pages, self.calls, self.counters, self.threads = name, pages, [], [], {}


class Root:
    """What all calls of a recording are below."""

    def __init__(self, calls):
        self.name, self.children, self.inside = "", calls, names_of(calls)


def recorded_parameters(function):
    """Those that are numbers or pointers, as far as the recorder has room."""
    return [parameter for parameter in function.parameters if parameter.type.size <= 8][:PARAMETERS]


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


class Parser:
    """Lines of a recorder (trace.c, kernel/record.c), as scenarios."""

    def __init__(self, functions):
        self.functions, self.addresses = functions, sorted(functions)
        self.scenarios, self.stacks, self.time, self.pages = [], {}, 0, []

    def line(self, line):
        word, _, rest = line.partition(" ")
        if word == "pages":
            self.pages = rest.split()
        elif word == "scenario":
            self.scenarios.append(Scenario(rest, self.pages))
            self.stacks = {}
        elif word == "thread":
            thread, name = rest.split(" ", 1)
            self.scenarios[-1].threads[int(thread)] = name
        elif word == "counter":
            counter, before, after = re.fullmatch(r"(.+): (\d+) -> (\d+)", rest).groups()
            self.scenarios[-1].counters.append((counter, int(before), int(after)))
        else:
            self.event(*line.split())

    def event(self, thread, sign, where, *values):
        stack, address = self.stacks.setdefault(thread, []), where.partition("@")[0]
        self.time += 1
        if sign == "+":
            self.push_assembler(stack, thread, where.partition("@")[2])
            call = self.push(stack, self.functions[int(address, 16)], thread)
            enter(call, values)
        elif stack:
            leave(self.pop(stack), values)
            if stack and stack[-1].assembler:
                self.pop(stack)

    def push(self, stack, function, thread):
        call = Call(function, int(thread), self.time)
        (stack[-1].children if stack else self.scenarios[-1].calls).append(call)
        stack.append(call)
        return call

    def pop(self, stack):
        stack[-1].end = self.time
        return stack.pop()

    def push_assembler(self, stack, thread, from_address):
        """A function in assembler has no hooks: the return address of what it calls names it."""
        if not from_address:
            return
        # A call may be a function's last instruction, and then the return address is the next function's.
        at = bisect.bisect_left(self.addresses, int(from_address, 16)) - 1
        caller = self.functions[self.addresses[at]]
        if caller.file.endswith(".S") and not (stack and stack[-1].name == caller.name):
            self.push(stack, caller, thread).assembler = True


def record(recorder, functions, name):
    """The scenarios of a page, on the sim."""
    parser = Parser(functions)
    for line in run(recorder, functions, name):
        parser.line(line)
    for scenario in parser.scenarios:
        scenario.calls = without_checkers(scenario.calls)
    return parser.scenarios


# ---- the kernel ----


def record_kernel(build, functions):
    """All scenarios of the kernel on bare metal, from one boot. On a host that has much else to do, the disk
    may have answered before its reader sleeps: then another boot."""
    for _ in range(BOOTS_MAX):
        parser = Parser(functions)
        for line in boot(build):
            if line.startswith("~ "):
                parser.line(line[2:].rstrip())
        for scenario in parser.scenarios:
            scenario.calls = without_timer(without_checkers(scenario.calls))
        if not any(answered_early(scenario) for scenario in parser.scenarios):
            break
    return parser.scenarios


def answered_early(scenario):
    reads = [call for call in walk(scenario.calls) if call.name == "disk_wait"]
    return any("mi_switch" not in call.inside for call in reads)


def boot(build):
    """What the kernel of walkthrough.cmake writes to its console."""
    machine = kernel_machine.Machine(
        build=str(build),
        kernel=f"{build}/{KERNEL}",
        disk=f"{build}/walkthrough-disk.img",
        snapshot=True,
        iops=IOPS,
    )
    out = subprocess.run(machine.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOOT_S)
    if kernel_machine.program_status(out.returncode) != 0:
        sys.exit(f"{KERNEL} ends with {out.returncode}: {out.stderr[-500:]}{out.stdout[-500:]}")
    return out.stdout.splitlines()


def is_timer(call):
    """The timer's interrupt comes at any time, and is no step of a path."""
    if call.name != "alltraps":
        return False
    handlers = [one for trap in call.children for one in trap.children if one.name == "interrupt"]
    return any(one.name == "sched_timer" for handler in handlers for one in handler.children)


def without_timer(calls):
    kept = [call for call in calls if not is_timer(call)]
    for call in kept:
        call.children = without_timer(call.children)
        call.inside = names_of(call.children)
    return kept


# ---- what is asked of calls ----


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
