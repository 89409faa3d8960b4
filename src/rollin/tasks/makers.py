"""Makes one task of one unit: proposes faults, tries them, keeps those that behave as their family says.

Maker      (workbench, kinds in order of preference, rng) -> a task, or the reason why there is none
"""

import random
from collections.abc import Callable, Sequence
from itertools import combinations

from rollin.tasks.faults.base import Fault, apart, apply, faulty_lines, occurs
from rollin.tasks.faults.visible import VISIBLE
from rollin.tasks.probe import Failure, Outcome
from rollin.tasks.reports import symptom, write_report
from rollin.tasks.schema import Commit, Family, Task
from rollin.tasks.workbench import Workbench

Maker = Callable[[Workbench, Sequence[str], random.Random], "Task | str"]

ROOT_SUBJECT = "Initial version"
FAULTS_PER_TASK = {1: 0.5, 2: 0.3, 3: 0.2}
"""How many visible faults a task holds, with weights."""
BATCH = 2
"""Candidates tried at once, beyond those needed."""


def make_visible(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Task | str:
    """A task of one to three visible faults that uncover one after another."""
    wanted = rng.choices(list(FAULTS_PER_TASK), weights=list(FAULTS_PER_TASK.values()))[0]
    proposals = _proposals(bench, kinds, rng)
    reason = "no visible fault is left to try"
    for first in range(0, min(len(proposals), 4 * BATCH), wanted + BATCH):
        faults = _seen(bench, proposals[first : first + wanted + BATCH])
        for chosen in combinations(faults, wanted):
            if not _compatible(bench, chosen):
                continue
            outcome = _uncovers(bench, chosen)
            if outcome is None:
                reason = "the faults hide behind one another"
                continue
            return _visible_task(bench, chosen, outcome, rng)
        reason = "no exception points at the faulty line"
    return reason


def _proposals(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> list[Fault]:
    """Candidates, one of each kind in the order of preference, then a second and a third of each."""
    unit, code = bench.unit, bench.unit.code
    found = [
        rng.sample(faults, min(3, len(faults))) for kind in kinds if (faults := VISIBLE[kind](code, unit.path, rng))
    ]
    return [faults[turn] for turn in range(3) for faults in found if turn < len(faults)]


def _seen(bench: Workbench, faults: Sequence[Fault]) -> list[Fault]:
    """Those faults that show by themselves."""
    outcomes = bench.outcomes([_tree(bench, [fault]) for fault in faults])
    return [fault for fault, outcome in zip(faults, outcomes, strict=True) if reveals(bench, [fault], outcome)]


def _uncovers(bench: Workbench, faults: Sequence[Fault]) -> Outcome | None:
    """The outcome with all faults in, if every failure points at one of them, whichever have been repaired."""
    rests = [rest for size in range(2, len(faults)) for rest in combinations(faults, size)]
    outcomes = bench.outcomes([_tree(bench, some) for some in (faults, *rests)])
    shown = all(reveals(bench, some, outcome) for some, outcome in zip((faults, *rests), outcomes, strict=True))
    return outcomes[0] if shown else None


def reveals(bench: Workbench, faults: Sequence[Fault], outcome: Outcome) -> bool:
    """Whether tests fail, and every failure is an exception at a faulty line or one that names what is missing."""
    places = set(faulty_lines(bench.unit.code, faults))
    shown = [_points(failure, faults, places) for failure in outcome.failed.values()]
    return bool(shown) and bool(bench.broken(outcome)) and all(shown)


def _points(failure: Failure, faults: Sequence[Fault], places: set[tuple[str, int]]) -> bool:
    if failure.type in ("", "AssertionError", "Failed"):
        return False
    return failure.at in places or any(fault.shows and fault.shows in failure.message for fault in faults)


def _compatible(bench: Workbench, faults: Sequence[Fault]) -> bool:
    """Whether faults lie apart, and each right spelling still stands somewhere when all are in."""
    code = bench.unit.code
    text = "\n".join(apply(code, faults).values())
    spelled = all(occurs(fault.answer, text) for fault in faults if fault.answer.isidentifier())
    return spelled and all(apart(code, fault, faults[:place]) for place, fault in enumerate(faults))


def _visible_task(bench: Workbench, faults: Sequence[Fault], outcome: Outcome, rng: random.Random) -> Task | str:
    statement = report(bench, outcome, [fault.answer for fault in faults], rng, used_to=False)
    if statement is None:
        return "every report would give the repair away"
    tree = _tree(bench, faults)
    fixed = {path: bench.unit.files[path] for path in tree}
    kinds = [fault.kind for fault in faults]
    return bench.task(Family.VISIBLE, kinds, statement, [Commit(subject=ROOT_SUBJECT, files=tree)], fixed, outcome)


def report(
    bench: Workbench, outcome: Outcome, answers: Sequence[str], rng: random.Random, *, used_to: bool
) -> str | None:
    """A bug report of what fails in `outcome`."""
    unit = bench.unit
    tests = {path: unit.files[path] for path in unit.test_files}
    module = unit.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    symptoms = [symptom(name, failure, tests, module) for name, failure in outcome.failed.items()]
    return write_report(symptoms, answers, rng, used_to=used_to)


def _tree(bench: Workbench, faults: Sequence[Fault]) -> dict[str, str | None]:
    """The files that faults change."""
    code = bench.unit.code
    return {path: text for path, text in apply(code, faults).items() if text != code[path]}


MAKERS: dict[Family, tuple[Maker, Sequence[str]]] = {Family.VISIBLE: (make_visible, tuple(VISIBLE))}
"""Each family's maker and the kinds it knows."""
