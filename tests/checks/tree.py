"""tree.py: what the checks share: the tree's files, and the comments and the code in them, by line."""
import io
import os
import pathlib
import re
import tokenize

C_TOKEN = re.compile(r'(/\*.*?\*/|//[^\n]*)|("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')', re.S)
COMMENT_WIDTH = 110  # characters of a line with a comment; .clang-format has the same
NO_SOURCES = {".git", "__pycache__", "corpus"}


def files(root, *folders):
    """(path from root, text) of every text file below the folders, or below root, but for build trees."""
    root = pathlib.Path(root)
    for top in [root / folder for folder in folders] or [root]:
        for folder, below, names in os.walk(top):
            below[:] = sorted(
                name
                for name in below
                if name not in NO_SOURCES and not (folder == str(root) and name.startswith("build"))
            )
            for name in sorted(names):
                path = pathlib.Path(folder, name)
                try:
                    yield str(path.relative_to(root)), path.read_text()
                except UnicodeDecodeError:
                    continue


def language(path, text):
    """c, python, markdown, or hash (comments begin with #), or None."""
    if path.endswith((".c", ".h")):
        return "c"
    if path.endswith(".md"):
        return "markdown"
    if path.endswith(".py") or text.startswith("#!/usr/bin/env python3"):
        return "python"
    name = path.rsplit("/", 1)[-1]
    if path.endswith((".sh", ".cmake")) or name in ("CMakeLists.txt", "Makefile") or text.startswith("#!"):
        return "hash"
    return None


def c_comments(text):
    """(number of its first line, the comment as it stands) for each comment."""
    for match in C_TOKEN.finditer(text):
        if match.group(1):
            yield text.count("\n", 0, match.start()) + 1, match.group(1)


def python_comments(text):
    at_start = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING and at_start:
            yield token.start[0], token.string
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            at_start = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def hash_comments(text):
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") and not line.startswith("#!"):
            yield number, line.strip()


def comments(path, text):
    kind = language(path, text)
    if kind == "c":
        return c_comments(text)
    if kind == "python":
        return python_comments(text)
    return hash_comments(text) if kind == "hash" else iter(())


def code(text):
    """C text without its comments; strings stay."""
    return C_TOKEN.sub(lambda match: " " if match.group(1) else match.group(), text)


def prose(text):
    """(line number, line) of Markdown outside of code blocks."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line
