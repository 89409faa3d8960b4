"""Bug reports: what was called, what was expected, what came instead, in a line or two.

A report is derived from a test that really failed, and never says where the fault is or how to repair it.
"""

import ast
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rollin.tasks.faults.base import syntax_tree
from rollin.tasks.probe import Failure

_RAISES = (
    "`{call}` should give `{expected}`, but it raises {error}.",
    "`{call}` raises {error}. It should return `{expected}`.",
    "I expected `{expected}` from `{call}` and got {error}.",
    "{error} from `{call}`, which should be `{expected}`.",
)
_GIVES = (
    "`{call}` should give `{expected}`, but it gives `{got}`.",
    "`{call}` returns `{got}` instead of `{expected}`.",
    "I expected `{expected}` from `{call}` and got `{got}`.",
    "`{call}` is `{got}`, but it should be `{expected}`.",
)
_GIVES_WRONG = ("`{call}` should give `{expected}`, but it doesn't.", "`{call}` isn't `{expected}` as it should be.")
_IMPORT = (
    "`import {module}` fails.",
    "The module {module} can't be imported.",
    "Nothing works: importing {module} fails.",
    "`import {module}` stops with an error.",
)
_TEST = ("{test} fails with {error}.", "The test {test} fails: {error}.", "{test} doesn't pass, it ends in {error}.")

_RAISED = (
    "`{call}` used to give `{expected}`. Now it raises {error}.",
    "Since a recent change `{call}` raises {error}; it used to return `{expected}`.",
)
_GAVE = (
    "`{call}` used to give `{expected}`. Now it gives `{got}`.",
    "Since a recent change `{call}` returns `{got}`; it used to be `{expected}`.",
    "`{call}` used to return `{expected}`, but after some change it is `{got}`.",
)
_GAVE_RIGHT = (
    "`{call}` used to give `{expected}`. Now it doesn't.",
    "Since a recent change `{call}` is not `{expected}` any more.",
)
_IMPORTED = ("`import {module}` used to work. Now it fails.",)
_PASSED = ("{test} used to pass. Now it fails with {error}.", "Since a recent change {test} fails with {error}.")

REGRESSION = "Regression: "
"""What trackers put before a report of something that used to work."""


@dataclass(frozen=True)
class Symptom:
    """What a failing test shows. Fields that can't be told are empty."""

    test: str
    module: str
    error: str
    call: str = ""
    expected: str = ""
    got: str = ""

    def phrasings(self, *, used_to: bool) -> Sequence[str]:
        """The templates that fit what is known; `used_to` says that it worked before."""
        if not self.test:
            return _IMPORTED if used_to else _IMPORT
        if not self.call:
            return _PASSED if used_to else _TEST
        if self.error != "AssertionError":
            return _RAISED if used_to else _RAISES
        if not self.got:
            return _GAVE_RIGHT if used_to else _GIVES_WRONG
        return _GAVE if used_to else _GIVES


def symptom(test: str, failure: Failure, tests: Mapping[str, str], module: str) -> Symptom:
    """What one failed test shows; `tests` are the texts of the test files."""
    path, _, name = test.partition("::")
    error = {"Failed": "a missing exception", "": "an error"}.get(failure.type, failure.type)
    bare = Symptom(name.split("::")[-1].partition("[")[0], module, error)
    asserted = _asserted(tests.get(path, ""), failure.test_line)
    if not name or asserted is None:
        return bare
    call, expected = asserted
    got = _got(failure.message) if failure.type == "AssertionError" else ""
    return Symptom(bare.test, module, bare.error, call, expected, got)


def _asserted(text: str, line: int | None) -> tuple[str, str] | None:
    """The two sides of the `assert call == value` at a line, if both stand for themselves: no local names."""
    if line is None or not text:
        return None
    for function in _functions(text):
        if not function.lineno <= line <= (function.end_lineno or 0):
            continue
        local = {
            node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        local |= {argument.arg for argument in function.args.args}
        for node in ast.walk(function):
            test = node.test if isinstance(node, ast.Assert) else None
            if test is None or not test.lineno <= line <= (test.end_lineno or 0) or not isinstance(test, ast.Compare):
                continue
            names = {name.id for name in ast.walk(test) if isinstance(name, ast.Name)}
            calls = any(isinstance(part, ast.Call) for part in ast.walk(test.left))
            if len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is) and calls and not names & local:
                return ast.unparse(test.left), ast.unparse(test.comparators[0])
    return None


@lru_cache(maxsize=16)
def _functions(text: str) -> list[ast.FunctionDef]:
    """Kept for the next failure in the same file."""
    return [node for node in ast.walk(syntax_tree(text)) if isinstance(node, ast.FunctionDef)]


def _got(message: str) -> str:
    """The left value in pytest's `assert 4 == 3`, or nothing if it is cut short, an address, or can't be told apart."""
    found = re.fullmatch(r"assert (.+) (?:==|is) (.+)", message)
    clear = "..." not in message and " at 0x" not in message and message.count(" == ") <= 1
    return found[1] if found and clear else ""


def leaks(statement: str, answers: Sequence[str]) -> bool:
    """Whether a statement says one of the texts that would repair the fault."""
    return any(re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", statement) for answer in answers)


def write_report(
    symptoms: Sequence[Symptom], answers: Sequence[str], rng: random.Random, *, used_to: bool, longest: int = 160
) -> str | None:
    """A report of one of the symptoms that leaks no answer, at most `longest` characters; None if there is none.

    Symptoms that say what was called come first, for those that don't ask more of the reader.
    """
    shuffled = sorted(rng.sample(list(symptoms), len(symptoms)), key=lambda found: not found.call)
    for found in shuffled:
        phrasings = found.phrasings(used_to=used_to)
        for phrasing in rng.sample(list(phrasings), len(phrasings)):
            statement = (REGRESSION if used_to else "") + phrasing.format(**vars(found))
            if len(statement) <= longest and not leaks(statement, answers):
                return statement
    return None
