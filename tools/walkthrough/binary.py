"""binary.py: what the recorder's program says about its own functions (nm, objdump, addr2line).

A Function knows where its parameters lie in its frame. That is safe in code without optimisation: GCC stores
each parameter into the frame before it calls the hook, and DWARF says where. The result is in rbx while the
hook at the exit runs; `has_result` says that the code takes it from there afterwards."""
import os
import re
import subprocess

SYMBOL = re.compile(r"([0-9a-f]+) [tTwW] (\S+)")
DIE = re.compile(r"<(\d+)><([0-9a-f]+)>: Abbrev Number: \d+(?: \((DW_TAG_\w+)\))?")
ATTRIBUTE = re.compile(r"<[0-9a-f]+>\s+(DW_AT_\w+)\s*: (.*)")
RESULT = re.compile(r"mov\s+%[er]bx,%[er]ax")
QUALIFIERS = ("DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_atomic_type", "DW_TAG_restrict_type")


class Type:
    """kind: int, bool, enum, pointer, struct or void; name: of the typedef, or of the struct that a pointer
    points to; target: of a pointer to a number or pointer, that one's type."""

    def __init__(self, kind, name="", size=0, signed=False):
        self.kind, self.name, self.size, self.signed = kind, name, size, signed
        self.members, self.target = {}, None


class Parameter:
    def __init__(self, name, offset, type):
        self.name, self.offset, self.type = name, offset, type


class Function:
    def __init__(self, name):
        self.name, self.parameters, self.result = name, [], Type("void")
        self.has_result, self.file, self.line = False, "", 0


def run(*argv, text=None):
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


def symbols(path):
    """{address: Function}"""
    table = {}
    for address, name in SYMBOL.findall(run("nm", path)):
        table[int(address, 16)] = Function(re.sub(r"\.(isra|part|constprop)\.\d+$", "", name))
    return table


def read_places(path, root, table):
    """File, from the tree's root, and line."""
    addresses = sorted(table)
    lines = run("addr2line", "-e", path, text="".join(f"{a:x}\n" for a in addresses)).splitlines()
    for address, line in zip(addresses, lines):
        file, _, number = line.split(" ")[0].rpartition(":")
        file = os.path.normpath(file)
        if file.startswith(root + os.sep) and number.isdigit():
            table[address].file, table[address].line = os.path.relpath(file, root), int(number)


def read_results(path, table):
    address, after_exit = None, False
    for line in run("objdump", "-d", "--no-show-raw-insn", path).splitlines():
        if line.endswith(">:"):
            address = int(line.split()[0], 16)
        elif after_exit and address in table and RESULT.search(line):
            table[address].has_result = True
        after_exit = "<__cyg_profile_func_exit>" in line and "call" in line


def read_dies(path):
    """[(depth, offset, tag, {attribute: text})]"""
    dies = []
    for line in run("objdump", "--dwarf=info", path).splitlines():
        line = line.strip()
        match = DIE.match(line)
        if match:
            dies.append((int(match[1]), int(match[2], 16), match[3], {}))
            continue
        match = ATTRIBUTE.match(line)
        if match and dies:
            dies[-1][3][match[1]] = match[2]
    return dies


def die_name(attributes):
    return attributes.get("DW_AT_name", "").rsplit("): ", 1)[-1].strip()


class Types:
    def __init__(self, dies):
        self.dies = {offset: (tag, attributes) for _, offset, tag, attributes in dies}
        self.enumerators = {}
        enum = None
        for _, offset, tag, attributes in dies:
            if tag == "DW_TAG_enumeration_type":
                enum = self.enumerators.setdefault(offset, {})
            elif tag == "DW_TAG_enumerator":
                enum[int(attributes["DW_AT_const_value"].split()[0], 0)] = die_name(attributes)

    def of(self, attributes, depth=0):
        """The type that the attributes of a variable or function name."""
        if "DW_AT_type" not in attributes:
            return Type("void")
        offset = int(attributes["DW_AT_type"].strip("<>"), 16)
        tag, own = self.dies[offset]
        if tag in QUALIFIERS:
            return self.of(own, depth)
        name, size = die_name(own), int(own.get("DW_AT_byte_size", "0"), 0)
        if tag == "DW_TAG_typedef":
            type = self.of(own, depth)
            if type.kind not in ("pointer", "struct"):
                type.name = name
        elif tag == "DW_TAG_pointer_type":
            type = self.pointer(own, size, depth)
        elif tag == "DW_TAG_enumeration_type":
            type = Type("enum", name, size)
            type.members = self.enumerators[offset]
        elif tag == "DW_TAG_base_type":
            signed = "(signed" in own.get("DW_AT_encoding", "")
            type = Type("bool" if name == "_Bool" else "int", name, size, signed)
        else:
            type = Type("struct", name, size)
        return type

    def pointer(self, attributes, size, depth):
        type, target = Type("pointer", "", size), self.of(attributes, depth + 1) if depth < 2 else Type("void")
        if target.kind == "struct":
            type.name = target.name
        elif target.kind in ("int", "bool", "enum") or target.kind == "pointer" and target.name:
            type.target = target
        return type


def read_parameters(path, table):
    dies = read_dies(path)
    types, function = Types(dies), None
    for depth, _, tag, attributes in dies:
        if depth <= 1:
            function = None
        if tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in attributes:
            function = table.get(int(attributes["DW_AT_low_pc"], 16))
            if function is not None:
                function.result = types.of(attributes)
        elif tag == "DW_TAG_formal_parameter" and function is not None and depth == 2:
            offset = re.search(r"\(DW_OP_fbreg: (-?\d+)\)", attributes.get("DW_AT_location", ""))
            if offset:
                function.parameters.append(
                    Parameter(die_name(attributes), int(offset[1]), types.of(attributes))
                )


def read_binary(path, root):
    """{address: Function} of all that the program contains."""
    table = symbols(path)
    read_places(path, root, table)
    read_results(path, table)
    read_parameters(path, table)
    return table
