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
from rollin.tasks.run_inside import WALL_SECONDS

Tree = Mapping[str, str | None]
Only = Literal["", "asserted", "standing"]
"""Trees that break some, not all, of what passes on the first one, by nothing but assertions (each runs again, to see
whether it is steady); trees that break nothing. Of another tree the outcome holds what was found until that showed."""
Function = tuple[str, int]
"""Its file and its first line, with its decorators."""

_FOLDER, _SCRIPTS = ".probe", ("probe_inside.py", "run_inside.py")


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
    seconds: float = field(default=0.0, compare=False)
    """CPU time of the last run."""
    calls: object = None
    """Which functions of the `traced` files each test calls, in the words of the half that runs inside."""


def probe(
    sandbox: Sandbox,
    trees: Sequence[Tree],
    test_files: Sequence[str],
    *,
    only: Only = "",
    enough: int | None = None,
    changed: Sequence[Sequence[Function] | None] = (),
    first: Outcome | None = None,
    traced: Sequence[str] = (),
    seconds: int = 5,
) -> list[Outcome]:
    """The tests' outcome on each tree, in order. `seconds` bounds the CPU time of the first one's run, which bounds the
    others'.

    Where `only` trees of one sort are asked for, any other ends as soon as it shows, by comparison with the `first`
    outcome: on the pristine files, or on the first tree if it isn't given. Once `enough` of them are found, no other is
    tried: the outcomes are of the trees until then. In files that are `traced` it notes which tests call which
    functions of the first tree, by running it twice. Of another tree that changes nothing but the bodies of some
    functions (`changed`, for each tree; None if it isn't so) the outcome may then be that of the tests that call them,
    and of all others the first one's. A tree for which the sandbox ends them all (what it starts takes too much memory)
    has timed out; the repository is then as it was committed. Raises InfrastructureFault if the sandbox, not a tree,
    kept the tests from running.
    """
    changed = changed or [None] * len(trees)
    request = {
        "trees": trees,
        "changed": changed,
        "test_files": [*test_files],
        "only": only,
        "enough": len(trees) + 1 if enough is None else enough,
        "first": first and _known(first),
        "traced": [*traced],
        "seconds": seconds,
    }
    for name in _SCRIPTS:
        sandbox.write(f"{_FOLDER}/{name}", Path(__file__).with_name(name).read_bytes())
    sandbox.write(f"{_FOLDER}/request.json", json.dumps(request).encode())
    command = f"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 python {_FOLDER}/{_SCRIPTS[0]} {_FOLDER}/request.json"
    result = sandbox.run(command, seconds=WALL_SECONDS * (3 * len(trees) + 1))
    if trees and (result.killed or result.timed_out):
        sandbox.run("git reset --quiet --hard && git clean --quiet --force -d", seconds=60.0)
        again = partial(probe, sandbox, test_files=test_files, only=only, seconds=seconds)
        return _apart(again, trees, first)
    lines = result.output.splitlines()
    try:
        records = [json.loads(line) for line in lines[-len(trees) :]] if trees else []
    except json.JSONDecodeError as error:
        raise InfrastructureFault(f"the probe of {', '.join(test_files)} gave no record: {lines[-3:]}") from error
    if len(records) != len(trees):
        raise InfrastructureFault(f"the probe of {', '.join(test_files)} gave {len(records)} of {len(trees)} records")
    return [_steady(*map(_outcome, runs)) for runs in records if runs]


def _apart(again: Callable[..., list[Outcome]], trees: Sequence[Tree], first: Outcome | None) -> list[Outcome]:
    """Trees one by one, where one of them ended all."""
    if len(trees) == 1:
        return [Outcome(timed_out=True)]
    outcomes = list[Outcome]()
    for tree in trees:
        outcomes += again([tree], first=first)
        first = first or outcomes[0]
    return outcomes


def _known(first: Outcome) -> dict[str, object]:
    """What there is to know of an outcome for comparison."""
    failed: dict[str, object] = {name: {} for name in first.failed}
    return {"passed": sorted(first.passed), "failed": failed, "calls": first.calls, "seconds": first.seconds}


def _steady(*runs: Outcome) -> Outcome:
    """The last run's outcome."""
    return replace(runs[-1], steady=all(run.passed == runs[-1].passed for run in runs))


def _outcome(record: dict[str, object] | None) -> Outcome:
    if record is None:
        return Outcome(timed_out=True)
    passed, failed, seconds = record["passed"], record["failed"], record["seconds"]
    assert isinstance(passed, list)
    assert isinstance(failed, dict)
    assert isinstance(seconds, float)
    failures = {name: _failure(found) for name, found in failed.items()}
    return Outcome(frozenset(passed), failures, seconds=seconds, calls=record["calls"])


def _failure(found: dict[str, object]) -> Failure:
    at, line = found.get("at"), found.get("test_line")
    return Failure(
        str(found.get("type", "")),
        str(found.get("message", "")),
        (str(at[0]), int(at[1])) if isinstance(at, list) else None,
        line if isinstance(line, int) else None,
    )
