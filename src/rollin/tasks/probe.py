"""Runs a task's tests on many variants of a repository, in one sandbox and cheaply (a small module's in 0.04 s each).

Tree       the files in which a variant differs from the sandbox's repository (None: deleted)
Failure    how one test failed, and where
Outcome    what the tests said of one tree
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from rollin.errors import InfrastructureFault
from rollin.sandboxes.base import Sandbox
from rollin.tasks import probe_inside

Tree = Mapping[str, str | None]
Only = Literal["", "asserted", "standing"]
"""Trees that break some, not all, of what passes on the first one, by nothing but assertions (each runs again, to see
whether it is steady); trees that break nothing. Of another tree the outcome holds what was found until that showed."""

_SCRIPT, _REQUEST = ".probe/inside.py", ".probe/request.json"


@dataclass(frozen=True)
class Failure:
    """How one test failed, or (under a test file's own name) why the file could not be imported."""

    type: str = ""
    """The exception's class name."""
    message: str = ""
    """The first line of its message."""
    at: tuple[str, int] | None = None
    """The deepest place within the repository: path and line."""
    test_line: int | None = None
    """The line in the test's file."""


@dataclass(frozen=True)
class Outcome:
    """What the tests said of one tree."""

    passed: frozenset[str] = frozenset()
    failed: dict[str, Failure] = field(default_factory=dict)
    timed_out: bool = False
    steady: bool = True
    """Whether a second run, if there was one, passed the same."""
    lines: dict[str, frozenset[int]] = field(default_factory=dict)
    """Of each file that was `traced`, those that were executed."""


def probe(
    sandbox: Sandbox,
    trees: Sequence[Tree],
    test_files: Sequence[str],
    *,
    only: Only = "",
    first: Outcome | None = None,
    traced: Sequence[str] = (),
    seconds: int = 5,
) -> list[Outcome]:
    """The tests' outcome on each tree, in order. `seconds` bounds the CPU time of one run.

    Where `only` trees of one sort are asked for, any other ends as soon as it shows, by comparison with the `first`
    outcome: on the pristine files, or on the first tree if it isn't given. Of the files that are `traced` it notes
    which lines are executed, which takes several times as long. A tree for which the sandbox ends them all (what it
    starts takes too much memory) has timed out; the repository is then as it was committed. Raises InfrastructureFault
    if the sandbox, not a tree, kept the tests from running.
    """
    request = {
        "trees": trees,
        "test_files": [*test_files],
        "only": only,
        "first": first and {"passed": sorted(first.passed), "failed": sorted(first.failed)},
        "traced": [*traced],
        "seconds": seconds,
    }
    sandbox.write(_SCRIPT, Path(probe_inside.__file__).read_bytes())
    sandbox.write(_REQUEST, json.dumps(request).encode())
    command = f"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 python {_SCRIPT} {_REQUEST}"
    result = sandbox.run(command, seconds=probe_inside.WALL_SECONDS * (2 * len(trees) + 1))
    if trees and (result.killed or result.timed_out):
        sandbox.run("git reset --quiet --hard && git clean --quiet --force -d", seconds=60.0)
        again = partial(probe, sandbox, test_files=test_files, only=only, traced=traced, seconds=seconds)
        return _apart(again, trees, first)
    lines = result.output.splitlines()
    try:
        records = [json.loads(line) for line in lines[-len(trees) :]] if trees else []
    except json.JSONDecodeError as error:
        raise InfrastructureFault(f"the probe of {', '.join(test_files)} gave no record: {lines[-3:]}") from error
    if len(records) != len(trees):
        raise InfrastructureFault(f"the probe of {', '.join(test_files)} gave {len(records)} of {len(trees)} records")
    return [_steady(*map(_outcome, runs)) for runs in records]


def _apart(again: Callable[..., list[Outcome]], trees: Sequence[Tree], first: Outcome | None) -> list[Outcome]:
    """Trees one by one, where one of them ended all."""
    if len(trees) == 1:
        return [Outcome(timed_out=True)]
    outcomes = list[Outcome]()
    for tree in trees:
        outcomes += again([tree], first=first)
        first = first or outcomes[0]
    return outcomes


def _steady(first: Outcome, again: Outcome | None = None) -> Outcome:
    return replace(first, steady=again is None or again.passed == first.passed)


def _outcome(record: dict[str, object] | None) -> Outcome:
    if record is None:
        return Outcome(timed_out=True)
    passed, failed = record["passed"], record["failed"]
    assert isinstance(passed, list)
    assert isinstance(failed, dict)
    lines = record["lines"]
    assert isinstance(lines, dict)
    return Outcome(
        frozenset(passed),
        {name: _failure(found) for name, found in failed.items()},
        lines={name: frozenset(numbers) for name, numbers in lines.items()},
    )


def _failure(found: dict[str, object]) -> Failure:
    at, line = found.get("at"), found.get("test_line")
    return Failure(
        str(found.get("type", "")),
        str(found.get("message", "")),
        (str(at[0]), int(at[1])) if isinstance(at, list) else None,
        line if isinstance(line, int) else None,
    )
