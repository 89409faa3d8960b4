"""Harmless commits, taken back: each function undoes one plausible commit and says what its subject was.

A history is made backwards, from the files as they are to an earlier state. Nothing here changes what the code does;
whether that is so is checked by running the tests at every commit.

Revision   the files before a commit, and the commit's subject
Undo       (files, the source's path, rng) -> a revision, or None where there is nothing of the kind to undo
"""

import ast
import random
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from rollin.tasks.faults.base import Files, Source, occurs, words

README = "README.md"
EARLIER_NAMES = ("value", "item", "data", "result", "current", "temp", "found", "entry", "part", "thing")
"""What a variable may have been called before someone gave it a better name."""
COMMENTS = ("# the usual case", "# see the tests", "# keep this short", "# one step at a time", "# nothing else to do")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Revision:
    """One commit, taken back."""

    subject: str
    files: Files
    """Before the commit."""
    function: str = ""
    """The function that it was about."""


Undo = Callable[[Files, str, random.Random], Revision | None]


def functions(source: Source) -> Iterator[Function]:
    """The module's functions and its classes' methods."""
    for body in (source.tree.body, *(node.body for node in source.tree.body if isinstance(node, ast.ClassDef))):
        yield from (node for node in body if isinstance(node, Function))


def without(source: Source, *nodes: ast.stmt) -> str:
    """The text without these statements, their decorators, the comments right above them and the blank lines before."""
    lines = list(source.lines)
    for node in sorted(nodes, key=lambda node: node.lineno, reverse=True):
        assert node.end_lineno is not None
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
        while first > 0 and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        while first > 0 and not lines[first - 1].strip():
            first -= 1
        del lines[first : node.end_lineno]
    return "".join(lines)


def undo_function(files: Files, path: str, rng: random.Random) -> Revision | None:
    """A public function that nothing else uses, added together with its tests."""
    source = Source.parse(files, path)
    public = [node for node in functions(source) if not node.name.startswith("_")]
    if len(public) < 3:
        return None
    for node in rng.sample(public, len(public)):
        earlier = _without_function(files, source, node)
        if earlier is not None:
            return Revision(f"Add {node.name}", earlier, node.name)
    return None


def _without_function(files: Files, source: Source, node: Function) -> dict[str, str] | None:
    """The files without a function and its tests, or None if something else needs it or nothing tests it."""
    again = sum(other.name == node.name for other in functions(source)) > 1
    if again or any(user is not node for user in source.users.get(node.name, ())):
        return None
    earlier, tested = {**files, source.path: _unlisted(without(source, node), node.name)}, False
    for name, content in files.items():
        if name != source.path and name.endswith(".py"):
            tests = _without_tests_of(Source.parse(files, name), node.name)
            if tests is None:
                return None
            earlier[name], tested = tests, tested or tests != content
    return earlier if tested else None


def _unlisted(text: str, name: str) -> str:
    """The text without a name in `__all__`."""
    source = Source.parse({"": text}, "")
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets):
            start, end = source.span(node)
            listed = re.sub(rf"""["']{name}["'],?\s*""", "", text[start:end])
            return text[:start] + listed + text[end:]
    return text


def _without_tests_of(source: Source, name: str) -> str | None:
    """A test file without the tests of a function and its import; None if something else in it needs the function."""
    users = source.users.get(name, [])
    tests = [user for user in users if isinstance(user, Function) and user.name.startswith("test")]
    if len(tests) < len(users):
        return None
    source = Source.parse({source.path: without_tests(source, tests)}, source.path)
    for node in source.tree.body:
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return _without_import(source, node, name)
    return source.text


def without_tests(source: Source, tests: Sequence[Function]) -> str:
    """A test file without these tests, and without the classes that hold no others."""
    classes = [node for node in source.tree.body if isinstance(node, ast.ClassDef)]
    held = {node: [part for part in node.body if isinstance(part, Function)] for node in classes}
    whole = [node for node in classes if held[node] and all(part in tests for part in held[node])]
    return without(source, *whole, *(test for test in tests if not any(test in held[node] for node in whole)))


def undo_tests(files: Files, ids: Collection[str]) -> Files | None:
    """The files without these tests, by pytest's names; None where one of them isn't found, or there is none."""
    files = dict(files)
    for path, group in groupby(sorted(ids), lambda name: name.partition("::")[0]):
        if path not in files:
            return None
        source = Source.parse(files, path)
        found = [_tests_called(source, name.partition("::")[2].partition("[")[0]) for name in group]
        if not all(found):
            return None
        files[path] = without_tests(source, [*{*chain(*found)}])
    return files if ids else None


def _tests_called(source: Source, name: str) -> list[Function]:
    """The function, or the class's method; where the class has inherited it, those of other classes."""
    holder, _, last = name.rpartition("::")
    classes = [node for node in source.tree.body if isinstance(node, ast.ClassDef)]
    own = [node for node in classes if node.name == holder] if holder else [source.tree]
    found, inherited = (
        [part for node in nodes for part in node.body if isinstance(part, Function) and part.name == last]
        for nodes in (own, classes if own and holder else [])
    )
    return found or inherited


def _without_import(source: Source, node: ast.ImportFrom, name: str) -> str:
    rest = [alias for alias in node.names if alias.name != name]
    start, end = source.span(node)
    old = source.text[start:end]
    if not rest:
        return without(source, node)
    shorter = re.sub(rf"\n[ \t]*{name},", "", old, count=1)
    if shorter == old:
        shorter = ast.unparse(ast.ImportFrom(node.module, rest, node.level))
    return source.text[:start] + shorter + source.text[end:]


def undo_docstring(files: Files, path: str, rng: random.Random) -> Revision | None:
    """A docstring that a function got."""
    source = Source.parse(files, path)
    documented = [node for node in functions(source) if ast.get_docstring(node) and len(node.body) > 1]
    if not documented:
        return None
    node = rng.choice(documented)
    text = without(source, node.body[0])
    subject = rng.choice(("Document {}", "Describe {}", "Say what {} does")).format(node.name)
    return Revision(subject, {**files, path: text}, node.name)


def undo_rename(files: Files, path: str, rng: random.Random) -> Revision | None:
    """A local variable that got a better name."""
    source = Source.parse(files, path)
    choices = [(node, name) for node in functions(source) for name in _locals(node)]
    if not choices:
        return None
    node, new = rng.choice(choices)
    start, end = source.span(node)
    free = [name for name in EARLIER_NAMES if name not in words(source.text[start:end])]
    if not free:
        return None
    old, text = rng.choice(free), source.text
    for part in sorted((part for part in ast.walk(node) if isinstance(part, ast.Name)), key=source.span, reverse=True):
        if part.id == new:
            left, right = source.span(part)
            text = text[:left] + old + text[right:]
    subject = rng.choice(("Tidy {name}", "Clean up {name}", "Rename {old} in {name}", "Clearer names in {name}"))
    return Revision(subject.format(name=node.name, old=old), {**files, path: text}, node.name)


def _locals(function: Function) -> list[str]:
    """Names assigned in a function and safe to change: no parameters, none inside f-strings, none declared global."""
    arguments = {part.arg for part in ast.walk(function) if isinstance(part, ast.arg)}
    risky = {
        name.id
        for part in ast.walk(function)
        if isinstance(part, ast.JoinedStr)
        for name in ast.walk(part)
        if isinstance(name, ast.Name)
    }
    declared = {
        name for part in ast.walk(function) if isinstance(part, ast.Global | ast.Nonlocal) for name in part.names
    }
    stored = {part.id for part in ast.walk(function) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    return sorted(name for name in stored - arguments - risky - declared - {*EARLIER_NAMES} if len(name) > 2)


def undo_test(files: Files, path: str, rng: random.Random) -> Revision | None:
    """A further test of a function that has other tests."""
    names = [name for name in files if name != path and name.endswith(".py")]
    if not names:
        return None
    tests = Source.parse(files, rng.choice(sorted(names)))
    public = [node.name for node in functions(Source.parse(files, path)) if not node.name.startswith("_")]
    own = [node for node in functions(tests) if node.name.startswith("test")]
    for name in rng.sample(public, len(public)):
        about = [node for node in own if node in tests.users.get(name, ())]
        if len(about) > 1 and len(own) > 3:
            subject = rng.choice(("Test {} more", "Another test of {}", "Cover more of {}")).format(name)
            return Revision(subject, {**files, tests.path: without(tests, about[-1])}, name)
    return None


def undo_readme(files: Files, path: str, rng: random.Random) -> Revision | None:
    """The README, written in one commit."""
    if README not in files:
        return None
    return Revision("Add a README", {name: text for name, text in files.items() if name != README})


def undo_hint(files: Files, path: str, rng: random.Random) -> Revision | None:
    """A return type that a function's signature got."""
    hinted = re.findall(r"^ *def (\w+)\(.*\)( -> \w+):$", files[path], re.MULTILINE)
    if not hinted:
        return None
    name, hint = rng.choice(hinted)
    text = re.sub(rf"^( *def {name}\(.*\)){re.escape(hint)}:$", r"\1:", files[path], count=1, flags=re.MULTILINE)
    return Revision(f"Type hint for {name}", {**files, path: text}, name)


def with_hints(files: Files, path: str, rng: random.Random, most: int = 2) -> dict[str, str]:
    """The files with return types on a few functions whose `return` says what they are."""
    source, text = Source.parse(files, path), files[path]
    told = [(node.name, kind) for node in functions(source) if node.returns is None and (kind := _returned(node))]
    for name, kind in rng.sample(told, min(most, len(told))):
        if occurs(f"def {name}", text) == 1:
            text = re.sub(rf"^( *def {name}\(.*\)):$", rf"\1 -> {kind}:", text, count=1, flags=re.MULTILINE)
    return {**files, path: text}


def undo_comment(files: Files, path: str, rng: random.Random) -> Revision | None:
    """A comment that `with_comment` put above a statement."""
    source = Source.parse(files, path)
    found = [number for number, line in enumerate(source.lines, 1) if line.strip() in COMMENTS]
    if not found:
        return None
    number = rng.choice(found)
    about = [node.name for node in functions(source) if node.lineno <= number <= (node.end_lineno or 0)]
    text = "".join(source.lines[: number - 1] + source.lines[number:])
    return Revision(f"Comment on {about[-1]}", {**files, path: text}, about[-1]) if about else None


def with_comment(files: Files, path: str, line: int, rng: random.Random) -> dict[str, str]:
    """The files with a comment above the last statement of a function, but not beside the given line."""
    source = Source.parse(files, path)
    ends = [node.body[-1] for node in functions(source) if len(node.body) > 1]
    last = [node for node in ends if not node.lineno - 1 <= line <= (node.end_lineno or 0)]
    if not last:
        return dict(files)
    statement = rng.choice(last)
    comment = " " * statement.col_offset + rng.choice(COMMENTS) + "\n"
    text = [*source.lines[: statement.lineno - 1], comment, *source.lines[statement.lineno - 1 :]]
    return {**files, path: "".join(text)}


def _returned(function: Function) -> str:
    """`bool`, `list`, `dict` or `str` if every `return` shows it."""
    kinds = {_kind(part.value) for part in ast.walk(function) if isinstance(part, ast.Return)}
    yields = any(isinstance(part, ast.Yield | ast.YieldFrom | ast.Lambda) for part in ast.walk(function))
    return kinds.pop() if len(kinds) == 1 and not yields else ""


def _kind(value: ast.expr | None) -> str:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return {"sorted": "list", "list": "list", "dict": "dict", "str": "str", "len": "int"}.get(value.func.id, "")
    shown: dict[type, str] = {ast.List: "list", ast.ListComp: "list", ast.Dict: "dict", ast.DictComp: "dict"}
    negated = isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
    return "bool" if negated else {**shown, ast.JoinedStr: "str"}.get(type(value), "")
