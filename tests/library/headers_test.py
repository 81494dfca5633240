#!/usr/bin/env python3
"""What a program sees by the public headers: names with Faultline's prefix, and functions that it can link.

Usage: headers_test.py CC INCLUDE ARCHIVE SHARED. Checks faultline.h and store.h, each alone in a C file:
  - it compiles, without a warning;
  - each name that the header puts into file scope (macro, function, typedef, tag, enumerator) has its prefix;
  - each function that it declares is defined by both libraries, and they define no function that it hides."""
import re
import subprocess
import sys

PREFIX = {
    "faultline.h": re.compile(r"(fl_|FL_|FAULTLINE_)|store$"),
    "store.h": re.compile(r"fl_|FL_|FAULTLINE_|(store|STORE)(_|$)"),
}
STANDARD = set(
    "auto bool char const double enum extern float inline int long register restrict return short signed sizeof "
    "static struct typedef union unsigned void volatile _Bool _Noreturn _Alignas size_t "
    "int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t uintptr_t intptr_t".split()
)
TOKEN = re.compile(r"\"(?:\\.|[^\"])*\"|'(?:\\.|[^'])*'|[A-Za-z_]\w*|\d[\w.]*|[^\s\w]")
LINE = re.compile(r'# \d+ "([^"]*)"')


def preprocess(cc, include, header, *options):
    """The preprocessed lines that come from Faultline's own headers."""
    command = [cc, "-std=c17", "-E", *options, f"-I{include}", "-x", "c", "-"]
    text = f"#include <faultline/{header}>\n"
    output = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    ours = False
    for line in output.splitlines():
        marker = LINE.match(line)
        if marker:
            ours = "/faultline/" in marker.group(1)
        elif ours:
            yield line


def macros(lines):
    for line in lines:
        define = re.match(r"#define (\w+)", line)
        if define:
            yield define.group(1)


def declared(lines):
    """(name, whether it is a function that is declared only) for each name of file scope."""
    tokens = TOKEN.findall(" ".join(lines))
    scopes, parens, enum_comes, first = [], 0, False, False
    for i, token in enumerate(tokens):
        before, behind = tokens[i - 1] if i else "", tokens[i + 1] if i + 1 < len(tokens) else ""
        if token == "(":
            parens += 1
        elif token == ")":
            parens -= 1
        elif parens > 0:
            continue
        elif token == "{":
            scopes.append("enum" if enum_comes else "body")
            enum_comes, first = False, True
            continue
        elif token == "}":
            scopes.pop()
        elif token == "enum":
            enum_comes = True
        elif token == ";":
            enum_comes = False
        elif re.match(r"[A-Za-z_]", token) and token not in STANDARD and not token.startswith("__"):
            enumerator = bool(scopes) and scopes[-1] == "enum" and (first or before == ",")
            if not scopes or enumerator or before in ("struct", "union", "enum"):
                yield token, behind == "(" and "static" not in tokens[max(0, i - 8) : i]
        if token != "{":
            first = False


def exported(command):
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split()[2] for line in output.splitlines() if len(line.split()) == 3}


def main():
    cc, include, archive, shared = sys.argv[1:]
    errors, functions = [], set()
    for header, prefix in PREFIX.items():
        compiled = subprocess.run(
            [
                cc,
                "-std=c17",
                "-pedantic",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-fsyntax-only",
                f"-I{include}",
                "-x",
                "c",
                "-",
            ],
            input=f"#include <faultline/{header}>\nextern int other;\n",
            text=True,
        )
        if compiled.returncode != 0:
            errors.append(f"{header} does not compile alone")
        names = list(declared(preprocess(cc, include, header)))
        seen = {name for name, _ in names} | set(macros(preprocess(cc, include, header, "-dD")))
        errors += [f"{header} puts {name} into programs" for name in sorted(seen) if not prefix.match(name)]
        functions |= {name for name, function in names if function}
        print(f"{header}: {len(seen)} names, {sum(function for _, function in names)} functions")
    if "fl_mmap" not in functions or "FL_NODISCARD" not in seen:
        errors.append("the headers were not understood")
    for library, command in ((archive, ["nm", "-g"]), (shared, ["nm", "-D"])):
        defined = exported([*command, "--defined-only", library])
        errors += [f"{library} does not define {name}" for name in sorted(functions - defined)]
        errors += [
            f"{library} defines {name}, which no header declares" for name in sorted(defined - functions)
        ]
    print("\n".join(errors))
    sys.exit(1 if errors else 0)


main()
