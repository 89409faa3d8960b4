"""What a fault is: a small edit that breaks a file, known together with its repair.

Files      path -> text, of one repository
Fault      one edit of one file, by character offsets
Propose    a pure function (files, path, rng) -> candidate faults; whether a test notices is found out by running
Source     a Python file with its syntax tree and character offsets
"""

import ast
import difflib
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

Files = Mapping[str, str]


@dataclass(frozen=True, order=True)
class Fault:
    """Replaces the characters [start, end) of `path` by `text`."""

    path: str
    start: int
    end: int
    text: str
    kind: str
    answer: str
    """The word or text that repairs it; a problem statement must not say it."""
    shows: str = ""
    """What an exception's message says where the faulty line itself raises nothing: an unknown name, a missing key."""


Propose = Callable[[Files, str, random.Random], Iterable[Fault]]
OF_SYNTAX = ("missing_colon", "missing_bracket", "missing_quote", "bad_indent")
"""Kinds of faults after which a file can't be compiled."""


def apply(files: Files, faults: Sequence[Fault]) -> dict[str, str]:
    """The files with all faults in; offsets count in the files as given, and the faults must not overlap."""
    broken = dict(files)
    for fault in sorted(faults, reverse=True):
        text = broken[fault.path]
        broken[fault.path] = text[: fault.start] + fault.text + text[fault.end :]
    return broken


def changes(before: Files, after: Files) -> dict[str, str | None]:
    """What leads from one state of the files to another: path -> text, None where the file goes."""
    return {path: after.get(path) for path in sorted({*before, *after}) if before.get(path) != after.get(path)}


def line_of(text: str, offset: int) -> int:
    """The 1-based line that holds a character offset."""
    return text.count("\n", 0, offset) + 1


def faulty_lines(files: Files, faults: Sequence[Fault]) -> list[tuple[str, int]]:
    """Where each fault lies once all of them are in: (path, 1-based line)."""
    places = []
    for fault in faults:
        line = line_of(files[fault.path], fault.start)
        for other in faults:
            if other.path == fault.path and other.end <= fault.start:
                line += other.text.count("\n") - files[other.path].count("\n", other.start, other.end)
        places.append((fault.path, line))
    return places


def function_around(files: Files, fault: Fault) -> tuple[str, int] | None:
    """The innermost function whose body alone a fault changes, by path and first line (its decorators count); None if
    there is none. To break the file's syntax changes more."""
    if not fault.path.endswith(".py") or fault.kind in OF_SYNTAX:
        return None
    source = Source.parse(files, fault.path)
    text = source.text[fault.start : fault.end]
    start, end = fault.start + len(text) - len(text.lstrip()), fault.start + len(text.rstrip())
    lines = [
        min(part.lineno for part in (function, *function.decorator_list))
        for function in source.functions
        if source.span(function.body[0])[0] <= start and end <= source.span(function)[1]
    ]
    return (fault.path, max(lines)) if lines else None


def apart(files: Files, fault: Fault, others: Sequence[Fault]) -> bool:
    """Whether a fault lies at least two lines from each of the others."""
    line = line_of(files[fault.path], fault.start)
    return all(other.path != fault.path or abs(line_of(files[other.path], other.start) - line) >= 2 for other in others)


def diff(before: Files, after: Files) -> str:
    """A unified diff in git's form. A path that only one side has is created or deleted; texts end in a newline."""
    parts = []
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        parts.append(f"diff --git a/{path} b/{path}\n")
        if old is None or new is None:
            parts.append(f"{'new' if old is None else 'deleted'} file mode 100644\n")
        parts += difflib.unified_diff(
            (old or "").splitlines(keepends=True),
            (new or "").splitlines(keepends=True),
            "/dev/null" if old is None else f"a/{path}",
            "/dev/null" if new is None else f"b/{path}",
        )
    return "".join(parts)


_ONE_PARSER = threading.Lock()


def syntax_tree(text: str) -> ast.Module:
    """The text's syntax tree. Raises SyntaxError on what is not Python.

    One at a time: Python 3.11 counts depth for all threads together, and a parser that another thread interrupts fails
    now and then with "AST constructor recursion depth mismatch" (github.com/python/cpython/issues/106905).
    """
    with _ONE_PARSER:
        return ast.parse(text)


def words(text: str) -> Counter[str]:
    """The identifiers and words of a text, and how often each stands there."""
    return Counter(re.findall(r"\w+", text))


def occurs(word: str, text: str) -> int:
    """How often a whole word stands in a text."""
    return len(re.findall(rf"\b{re.escape(word)}\b", text))


@dataclass(frozen=True)
class Source:
    """A Python file's text, tree and offsets."""

    path: str
    text: str
    tree: ast.Module = field(repr=False)

    @classmethod
    def parse(cls, files: Files, path: str) -> "Source":
        """Raises SyntaxError on what is not Python. The same file is parsed once: nobody changes a tree."""
        return _parsed(path, files[path])

    @cached_property
    def lines(self) -> list[str]:
        """The lines, each with its newline."""
        return self.text.splitlines(keepends=True)

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self.lines:
            starts.append(starts[-1] + len(line))
        return starts

    def line_start(self, line: int) -> int:
        """The offset of a 1-based line's first character."""
        return self._starts[line - 1]

    def offset(self, line: int, column: int) -> int:
        """The character offset of the syntax tree's position, whose columns count bytes."""
        prefix = self.lines[line - 1].encode()[:column]
        return self._starts[line - 1] + len(prefix.decode())

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        """The character range of a node."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        """All that bear a name."""
        return [node for node in self.nodes() if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    @cached_property
    def users(self) -> dict[str, list[ast.stmt]]:
        """Name -> the statements that read it or look it up: a module's own, and those of its classes."""
        users: dict[str, list[ast.stmt]] = {}
        for statement, parts in self._statements():
            for name in {name for part in parts for node in ast.walk(part) if (name := _named(node))}:
                users.setdefault(name, []).append(statement)
        return users

    def _statements(self) -> Iterator[tuple[ast.stmt, Sequence[ast.AST]]]:
        """A module's statements and those of its classes, each with the parts that are its own."""
        for statement in self.tree.body:
            if isinstance(statement, ast.ClassDef):
                yield statement, [*statement.decorator_list, *statement.bases, *statement.keywords]
                yield from ((inner, [inner]) for inner in statement.body)
            else:
                yield statement, [statement]

    def nodes(self) -> Iterator[ast.AST]:
        """All nodes in the order of `ast.walk`, but none inside an f-string, whose positions Python 3.11 gets wrong."""
        stack: list[ast.AST] = [self.tree]
        while stack:
            node = stack.pop()
            yield node
            if not isinstance(node, ast.JoinedStr):
                stack.extend(ast.iter_child_nodes(node))


@lru_cache(maxsize=64)
def _parsed(path: str, text: str) -> Source:
    return Source(path, text, syntax_tree(text))


def _named(node: ast.AST) -> str:
    """The name that an expression is, or looks up."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
