"""Makes one task of one unit: proposes faults, tries them, keeps those that behave as their family says.

Maker      (workbench, kinds in order of preference, rng) -> a task, or the reason why there is none
"""

import ast
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, islice

from rollin.tasks.faults.base import Fault, Files, apart, apply, faulty_lines, occurs
from rollin.tasks.faults.regression import ROOT_SUBJECT, synthesise
from rollin.tasks.faults.revisions import README
from rollin.tasks.faults.semantic import SEMANTIC
from rollin.tasks.faults.visible import VISIBLE
from rollin.tasks.probe import Failure, Outcome
from rollin.tasks.reports import symptom, write_report
from rollin.tasks.schema import Commit, Family, Task
from rollin.tasks.workbench import Workbench

Maker = Callable[[Workbench, Sequence[str], random.Random], "Task | str"]
Combination = tuple[Fault, ...]

FAULTS_PER_TASK = {1: 0.5, 2: 0.3, 3: 0.2}
"""How many visible faults a task holds, with weights."""
TRIES = 8
"""How many sets of faults, or mutations, one task may try."""
WINDOW = 3
"""Mutations tried at once."""


def make_visible(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Task | str:
    """A task of one to three visible faults that uncover one after another."""
    wanted = rng.choices(list(FAULTS_PER_TASK), weights=list(FAULTS_PER_TASK.values()))[0]
    proposals, trials = _proposals(bench, kinds, rng), Trials(bench)
    sets = (some for some in combinations(proposals, wanted) if _compatible(bench, some))
    reason = "no visible fault is left to try"
    for chosen in islice(sets, TRIES):
        stages = [some for size in range(1, wanted + 1) for some in combinations(chosen, size)]
        trials.run([*stages, chosen])
        if not trials.steady(chosen):
            reason = "its tests don't say the same twice"
        elif not all(trials.reveal(some) for some in stages):
            reason = "an exception doesn't point at the faulty line"
        else:
            return _visible_task(bench, chosen, trials.found[chosen][0], rng)
    return reason


class Trials:
    """What the tests said of combinations of faults. A combination runs as often as it was asked for."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.found: dict[Combination, list[Outcome]] = {}

    def run(self, combinations: Sequence[Combination]) -> None:
        """Try the combinations, all in one go; those tried before don't run again."""
        missing = {faults: count - len(self.found.get(faults, [])) for faults, count in Counter(combinations).items()}
        todo = [faults for faults, count in missing.items() for _ in range(count)]
        if todo:
            outcomes = self._bench.outcomes([_tree(self._bench, faults) for faults in todo])
            for faults, outcome in zip(todo, outcomes, strict=True):
                self.found.setdefault(faults, []).append(outcome)

    def steady(self, faults: Combination) -> bool:
        """Whether two runs passed the same tests."""
        return len({outcome.passed for outcome in self.found[faults]}) == 1

    def reveal(self, faults: Combination) -> bool:
        """Whether tests fail, and every failure is an exception at a faulty line or one that names what is missing."""
        outcome, places = self.found[faults][0], set(faulty_lines(self._bench.unit.code, faults))
        shown = [_points(failure, faults, places) for failure in outcome.failed.values()]
        return bool(shown) and bool(self._bench.broken(outcome)) and all(shown)


def _proposals(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> list[Fault]:
    """Candidates, one of each kind in the order of preference, then a second and a third of each."""
    unit, code = bench.unit, bench.unit.code
    found = [
        rng.sample(faults, min(3, len(faults))) for kind in kinds if (faults := VISIBLE[kind](code, unit.path, rng))
    ]
    return [faults[turn] for turn in range(3) for faults in found if turn < len(faults)]


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
    return _changes(bench.unit.code, apply(bench.unit.code, faults))


def _changes(before: Files, after: Files) -> dict[str, str | None]:
    """What leads from one state of the files to another."""
    return {path: after.get(path) for path in sorted({*before, *after}) if before.get(path) != after.get(path)}


def make_semantic(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Task | str:
    """A task of one mutation that nothing but failing assertions reveals."""
    unit, reason = bench.unit, "no mutation is left to try"
    mutations = _mutations(bench, kinds, rng)
    while window := list(islice(mutations, WINDOW)):
        trees = [_tree(bench, [fault]) for fault in window]
        outcomes = bench.outcomes([*trees, *trees])
        for fault, tree, found, again in zip(window, trees, outcomes, outcomes[len(trees) :], strict=False):
            asserted = all(failure.type in ("AssertionError", "Failed") for failure in found.failed.values())
            reason = "no test notices the mutation by an assertion alone"
            if not found.passed or found.passed != again.passed or not bench.broken(found) or not asserted:
                continue
            statement = report(bench, found, [fault.answer], rng, used_to=False)
            if statement is not None:
                history, fixed = [Commit(subject=ROOT_SUBJECT, files=tree)], {path: unit.files[path] for path in tree}
                return bench.task(Family.SEMANTIC, [fault.kind], statement, history, fixed, found)
    return reason


def _mutations(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Iterator[Fault]:
    """Mutations, two of each kind in the order of preference, found only as they are asked for."""
    for kind in kinds:
        yield from SEMANTIC[kind](bench.unit.code, bench.unit.path, rng)[:2]


def make_regression(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Task | str:
    """A task whose history holds one commit that broke it."""
    reason = "no history fits a mutation"
    for fault in islice(_mutations(bench, kinds, rng), TRIES):
        history = synthesise(_with_readme(bench), fault, rng)
        if history is None:
            continue
        files = bench.unit.files
        states = [_changes(files, state) for state in (*history.states, history.states[-1], history.repaired)]
        *outcomes, again, repaired = bench.outcomes(states)
        reason = _objection(history.bad, outcomes) or ""
        steady = again.passed == outcomes[-1].passed and repaired.passed == bench.baseline.passed
        statement = report(bench, outcomes[-1], [fault.answer], rng, used_to=True)
        if reason or not steady or statement is None:
            reason = reason or "its report would give the repair away"
            continue
        fixed = {fault.path: history.repaired[fault.path]}
        found = [fault.kind, *(["conflicting_revert"] if history.conflicts else [])]
        return bench.task(Family.REGRESSION, found, statement, history.commits(files), fixed, outcomes[-1])
    return reason


def _objection(bad: int, outcomes: Sequence[Outcome]) -> str | None:
    """Why commits with these outcomes can't be bisected, or why going back would lose nothing; None if all is well."""
    before, after = outcomes[:bad], outcomes[bad:]
    if any(outcome.failed or not outcome.passed for outcome in before):
        return "a commit before the bad one fails"
    if any(outcome.timed_out or not outcome.failed or not outcome.passed for outcome in after):
        return "a commit from the bad one on passes, or runs out of time"
    known = after[0].passed | set(after[0].failed)
    return None if after[-1].passed - known else "no later commit adds a test that passes"


def _with_readme(bench: Workbench) -> Files:
    """The unit's files; a kata gets a README, so that not every commit is about code."""
    unit = bench.unit
    if unit.source != "kata":
        return unit.files
    about = (ast.get_docstring(ast.parse(unit.files[unit.path])) or unit.module).splitlines()[0]
    return {**unit.files, README: f"# {unit.module}\n\n{about}\n"}


MAKERS: dict[Family, tuple[Maker, Sequence[str]]] = {
    Family.VISIBLE: (make_visible, tuple(VISIBLE)),
    Family.REGRESSION: (make_regression, tuple(SEMANTIC)),
    Family.SEMANTIC: (make_semantic, tuple(SEMANTIC)),
}
"""Each family's maker and the kinds it knows."""
