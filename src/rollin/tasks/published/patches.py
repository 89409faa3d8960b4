"""What can be read off a patch, and a patch turned round."""

import codecs
import difflib
import importlib
import os
import re
from collections.abc import Iterator
from itertools import pairwise

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from rollin.tasks.published.columns import Misfit

_HUNK = re.compile(r"@@ -(\d+(?:,(\d+))?) \+(\d+(?:,(\d+))?) @@(.*)", re.DOTALL)
_INDEX = re.compile(r"index ([0-9a-f]+)\.\.([0-9a-f]+)(.*)", re.DOTALL)
_GIT = re.compile(r"diff --git a/(.+) b/(.+)\n")
_PAIRS = (
    ("--- ", "+++ "),
    ("old mode ", "new mode "),
    ("rename from ", "rename to "),
    ("new file mode ", "deleted file mode "),
)
"""Beginnings of header lines: what is old, and what is new."""


def parse(patch: str, name: str) -> PatchSet:
    """A patch's files. Misfit where it is none."""
    try:
        files = PatchSet(patch)
    except UnidiffParseError as error:
        raise Misfit(f"its {name!r} is no patch") from error
    if not files:
        raise Misfit(f"its {name!r} is no patch")
    return files


def changed_lines(patch: str) -> int:
    """Lines that a patch adds and takes away. 0 for what is no patch."""
    try:
        return sum(file.added + file.removed for file in PatchSet(patch))
    except UnidiffParseError:
        return 0


def files_of_tests(test_patch: str) -> list[str]:
    """The files of a test patch that hold tests, as SWE-bench tells them apart: by their endings. Misfit for a text
    that is no patch."""
    others = tuple(importlib.import_module("swebench.harness.constants").NON_TEST_EXTS)
    return sorted(path for _, path in _moves(test_patch) if path and not path.endswith(others))


def touched(test_patch: str) -> set[str]:
    """The files of a test patch by their names before and after it. Misfit for a text that is no patch."""
    return {path for move in _moves(test_patch) for path in move if path}


def _moves(test_patch: str) -> Iterator[tuple[str, str]]:
    """(old, new) name of each file; "" where there is none."""
    for file in parse(test_patch, "test_patch") if test_patch.strip() else ():
        yield _path(file.source_file), _path(file.target_file)


def _path(side: str) -> str:
    """A file's path of its name in a patch: `a/x.py`, or as git quotes it, `"a/\\303\\251.py"`. "" for /dev/null."""
    try:
        name = os.fsdecode(codecs.escape_decode(side.strip('"').encode())[0]) if side.startswith('"') else side
    except ValueError as error:
        raise Misfit(f"its 'test_patch' names a file as git would not: {side}") from error
    return "" if name == "/dev/null" else name.partition("/")[2]


def ended(patch: str) -> str:
    """A patch with its last line's end, which is lost where a data set strips its texts; git wants it."""
    return patch if patch.endswith("\n") or not patch else f"{patch}\n"


def split(content: str) -> list[str]:
    """A text's lines with their ends. Not `splitlines`, which knows other ends than git does."""
    return re.findall(r"[^\n]*\n|[^\n]+", content)


def added(path: str, content: str) -> str:
    """The patch that adds a file."""
    lines = [*difflib.unified_diff([], split(content), "/dev/null", f"b/{path}")]
    ended = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    return "".join([f"diff --git a/{path} b/{path}\n", "new file mode 100644\n", *ended])


def turned_round(patch: str) -> str:
    """The patch that undoes a patch, git's extended headers included."""
    turned, header = list[str](), list[str]()
    lines = split(patch)
    at = 0
    while at < len(lines):
        found = _HUNK.match(lines[at])
        at += 1
        if not found:
            header.append(lines[at - 1])
            continue
        end = _end_of_hunk(lines, at, int(found[2] or 1), int(found[4] or 1))
        turned += [*_turned_header(header), f"@@ -{found[3]} +{found[1]} @@{found[5]}", *_turned_hunk(lines[at:end])]
        header, at = [], end
    return "".join([*turned, *_turned_header(header)])


def _end_of_hunk(lines: list[str], at: int, old: int, new: int) -> int:
    """Where the hunk that begins there ends: its lengths say so, for a removed line may look like a header."""
    while at < len(lines) and (old > 0 or new > 0 or lines[at].startswith("\\")):
        sign = lines[at][:1]
        old -= sign not in ("+", "\\")
        new -= sign not in ("-", "\\")
        at += 1
    return at


def _turned_hunk(lines: list[str]) -> list[str]:
    """With what is added taken away, and the other way round; what is taken away comes first, as git has it."""
    turned, removed, added = list[str](), list[str](), list[str]()
    last = turned
    for line in lines:
        if line.startswith("\\") and last:  # "No newline at end of file", of the line before
            last[-1] += line
            continue
        last = {"+": removed, "-": added}.get(line[:1], turned)
        if last is turned:
            turned += [*removed, *added]
            removed, added = [], []
            last = turned
        last.append({"+": "-", "-": "+"}.get(line[:1], line[:1]) + line[1:])
    return [*turned, *removed, *added]


def _turned_header(lines: list[str]) -> list[str]:
    """A file's header with old and new exchanged, in git's order."""
    turned = [_turned_line(line) for line in lines]
    for at, (line, after) in enumerate(pairwise(turned)):
        first = any(line.startswith(second) and after.startswith(begins) for begins, second in _PAIRS)
        if first:
            turned[at : at + 2] = [after, line]
    return turned


def _turned_line(line: str) -> str:
    for one, other in _PAIRS:
        if line.startswith(one):
            return _moved(line, one, other)
        if line.startswith(other):
            return _moved(line, other, one)
    if found := _INDEX.match(line):
        return f"index {found[2]}..{found[1]}{found[3]}"
    if found := _GIT.match(line):
        return f"diff --git a/{found[2]} b/{found[1]}\n"
    return line


def _moved(line: str, old: str, new: str) -> str:
    """A line with another beginning; a path in it changes its side, `/dev/null` has none."""
    rest = line.removeprefix(old)
    sides = {"--- ": "a/", "+++ ": "b/"}
    if new in sides and rest.startswith(sides[old]):
        rest = sides[new] + rest.removeprefix(sides[old])
    return new + rest
