"""What the expert knows of a task: the faults that its reference patch repairs, one by one.

Fault      lines of a file at the base commit that are wrong, and what they have to be
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from rollin.tasks.schema import Task

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_TOKEN = re.compile(r"\w+|\s+|[<>=!]=|<<|>>|//|\*\*|[^\w\s]")


@dataclass(frozen=True)
class Fault:
    """Lines of a file at the base commit that are wrong, and what they have to be."""

    path: str
    line: int
    """Of the first wrong line, 1-based; where lines are missing, of the line that follows the gap."""
    wrong: tuple[str, ...]
    right: tuple[str, ...]
    before: str = ""
    """The line above, as the patch shows it."""
    after: str = ""
    """The line below."""

    @cached_property
    def change(self) -> tuple[list[str], int, int, list[str]]:
        """The tokens of the wrong line, the range of those that differ, and the right line's tokens there."""
        wrong, right = (_TOKEN.findall("\n".join(lines)) for lines in (self.wrong, self.right))
        shorter = min(len(wrong), len(right))
        start = next((i for i in range(shorter) if wrong[i] != right[i]), shorter)
        end = next((i for i in range(shorter - start) if wrong[-1 - i] != right[-1 - i]), shorter - start)
        return wrong, start, len(wrong) - end, right[start : len(right) - end]

    @property
    def old(self) -> str:
        """The wrong tokens."""
        tokens, start, end, _ = self.change
        return "".join(tokens[start:end])

    @property
    def new(self) -> str:
        """The right tokens in their place."""
        return "".join(self.change[3])

    @property
    def is_data(self) -> bool:
        """Whether it lies in a data file: the interpreter names the right key, nothing shows the line."""
        return self.path.endswith((".json", ".ini"))

    @property
    def is_gap(self) -> bool:
        """Whether whole lines are missing."""
        return not self.wrong

    @property
    def is_import(self) -> bool:
        """Whether an import is missing."""
        return self.is_gap and len(self.right) == 1 and self.right[0].startswith(("import ", "from "))

    @property
    def is_indent(self) -> bool:
        """Whether only the indentation is wrong."""
        return bool(self.wrong) and [*map(str.strip, self.wrong)] == [*map(str.strip, self.right)]

    @property
    def is_punctuation(self) -> bool:
        """Whether only a colon, bracket or quote is missing."""
        return not self.is_gap and not self.old and re.fullmatch(r"[^\w\s]", self.new) is not None

    @property
    def is_unreadable(self) -> bool:
        """Whether Python can't read the line, and would if a sign or its indentation were there."""
        return self.is_indent or self.is_punctuation

    @property
    def place(self) -> int:
        """Under which number the look at its line shows how it is right (see `steps.readings`, `steps.arguments`)."""
        (wrong,), (right,) = self.wrong, self.right
        if self.is_indent:
            return len(right) - len(right.lstrip())
        lost = next(at for at in range(len(wrong), -1, -1) if wrong[:at] + self.new + wrong[at:] == right)
        return wrong[: lost + 1].count(")") if self.is_argument else lost

    @property
    def reading(self) -> str:
        """What that look shows of it: its right line as far as what was lost goes; all of it where that is an
        argument."""
        (right,) = self.right
        return (right if self.is_argument else right[: self.place + 1]).strip()

    @property
    def is_argument(self) -> bool:
        """Whether only a call's last argument is missing."""
        return not self.is_gap and not self.old and re.fullmatch(r",\s*\w+", self.new) is not None

    @property
    def is_of_line(self) -> bool:
        """Whether the interpreter names the line and not a word: it can't read it, or misses an argument."""
        return self.is_unreadable or self.is_argument

    @property
    def is_of_text(self) -> bool:
        """Whether the interpreter names the line, and shows all of it that is wrong: the indentation is right."""
        return self.is_of_line and not self.is_indent

    @property
    def is_spelling(self) -> bool:
        """Whether one word is misspelled inside: a letter lost, one too many, or two that changed places."""
        old, new = self.old, self.new
        worded = all(re.fullmatch(r"[^\W\d]\w+", word) for word in (old, new))
        return worded and (old[0], old[-1]) == (new[0], new[-1]) and _one_slip(old, new)

    @property
    def needs(self) -> set[str]:
        """The words that the repair brings in."""
        had = set(re.findall(r"\w+", "\n".join(self.wrong)))
        return set(re.findall(r"[^\W\d]\w*", self.new)) - had


def _one_slip(word: str, other: str) -> bool:
    shorter, longer = sorted((word, other), key=len)
    if len(shorter) == len(longer):
        return sorted(shorter) == sorted(longer)
    return shorter in {longer[:place] + longer[place + 1 :] for place in range(len(longer))}


@lru_cache(maxsize=4096)
def faults_of(patch: str) -> tuple[Fault, ...]:
    """The faults that a unified diff repairs, in its order."""
    return tuple(_faults(patch.splitlines()))


def _faults(lines: list[str]) -> Iterator[Fault]:
    path, at = "", 0
    while at < len(lines):
        if lines[at].startswith("--- "):
            path = lines[at].removeprefix("--- ").removeprefix("a/").split("\t")[0]
        hunk = _HUNK.match(lines[at])
        at += 1
        if hunk:
            start, before, after = int(hunk[1]), int(hunk[2] or 1), int(hunk[3] or 1)
            size = 0
            while before > 0 or after > 0:
                mark = lines[at + size][:1] or " "
                before -= mark in " -"
                after -= mark in " +"
                size += 1
            yield from _of_hunk(path, start + (hunk[2] == "0"), lines[at : at + size])
            at += size


def _of_hunk(path: str, number: int, lines: list[str]) -> Iterator[Fault]:
    """The changed blocks of one hunk whose first line has that number."""
    before, wrong, right = "", list[str](), list[str]()
    for line in [*lines, " "]:
        if line.startswith("-"):
            wrong.append(line[1:])
        elif line.startswith("+"):
            right.append(line[1:])
        elif not line.startswith("\\"):
            yield from _of_block(Fault(path, number, tuple(wrong), tuple(right), before, line[1:]))
            number += len(wrong) + 1
            before, wrong, right = line[1:], [], []


def _of_block(block: Fault) -> Iterator[Fault]:
    """A changed block: one fault for each line where the lines pair up."""
    if len(block.wrong) != len(block.right):
        yield block
        return
    for offset, (old, new) in enumerate(zip(block.wrong, block.right, strict=True)):
        if old != new:
            yield replace(block, line=block.line + offset, wrong=(old,), right=(new,))


def text_of(path: str, task: Task) -> str:
    """A faulty file's text at the base commit; empty where the task's history doesn't hold it."""
    texts = (commit.files[path] for commit in reversed(task.history) if path in commit.files)
    return next(texts, None) or ""


def scope_of(fault: Fault, task: Task) -> tuple[str, int]:
    """The function that encloses a fault, and the line of its `def`; ("", 0) where there is none."""
    lines = text_of(fault.path, task).splitlines()[: fault.line]
    depth = _depth(fault.wrong[0] if fault.wrong else fault.right[0])
    for number, line in reversed([*enumerate(lines, 1)]):
        if line.strip() and _depth(line) < depth:
            depth = _depth(line)
            if defined := re.match(r"\s*(?:async )?def (\w+)", line):
                return defined[1], number
    return "", 0


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
