"""values.py: the parameters and the result of a recorded call, as a reader of a walkthrough wants them.

Addresses of structures differ from run to run: an object, a page, an entry or a vnode gets a number, in the
order in which a scenario meets them. Other structures are left out."""
import errno
import re

NUMBERED = {"vm_object": "object", "vm_page": "page", "vm_map_entry": "entry", "vnode": "file"}
HEXADECIMAL = re.compile(r"vm_offset_t|\bflags\b|eflags|holebegin")
RETRY = re.compile(r"(vm_fault|filemap)_")  # their result 1 means: look everything up again


class Names:
    """The numbers of one scenario's structures."""

    def __init__(self):
        self.known = {}

    def of(self, kind, address):
        if address == 0:
            return f"no {kind}"
        number = self.known.setdefault(kind, {})
        return f"{kind} {number.setdefault(address, len(number) + 1)}"


def number(type, value):
    bits = 8 * type.size
    value &= (1 << bits) - 1
    return value - (1 << bits) if type.signed and value >> (bits - 1) else value


def rights(value):
    return "".join(letter if value & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))


def text(name, type, value, names):
    """One value, or None: it says nothing to a reader."""
    if type.kind == "pointer":
        return names.of(NUMBERED[type.name], value) if type.name in NUMBERED else None
    if type.kind == "bool":
        return "true" if value & 1 else "false"
    if type.kind not in ("int", "enum"):
        return None
    value = number(type, value)
    if type.kind == "enum":
        return type.members.get(value, str(value))
    if type.name == "vm_prot_t" or name == "prot":
        return rights(value)
    if value == (1 << 64) - 1:
        return "end"
    address = HEXADECIMAL.search(f"{type.name} {name}") and value > 9 or value >= 1 << 32 and not name
    return f"{value:#x}" if address else str(value)


def labelled(name, type, value, names):
    shown = text(name, type, value, names)
    if shown is None:
        return []
    return [shown] if type.kind == "pointer" else [f"{name}={shown}"]


def parameters(call, names, leave_out):
    """The words between the parentheses, but for parameters whose names are to be left out."""
    words = []
    for parameter in call.function.parameters:
        if parameter.name in call.values and parameter.name not in leave_out:
            words += labelled(parameter.name, parameter.type, call.values[parameter.name], names)
    return words


def result(call, names, leave_out):
    """The words behind the parentheses: what it returned, and what it stored through its pointers, but for
    those that parameters of names to be left out point to."""
    words, type = [], call.function.result
    if call.result is not None:
        shown = text("", type, call.result, names)
        value = number(type, call.result) if type.kind == "int" else 0
        if type.kind == "int" and type.signed and -4096 < value < 0:
            shown = "-" + errno.errorcode.get(-value, str(-value))
        elif value == 1 and type.name == "int" and RETRY.match(call.name):
            shown = "again"
        words += [] if shown is None else [shown]
    for parameter in call.function.parameters:
        target = None if parameter.name in leave_out else parameter.type.target
        if parameter.name in call.outputs and target is not None and call.values.get(parameter.name):
            words += ["*" + w for w in labelled(parameter.name, target, call.outputs[parameter.name], names)]
    return words
