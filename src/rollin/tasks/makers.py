"""Makes tasks of one unit: proposes faults, tries them, keeps those that behave as their family says.

Maker      (workbench, kinds in order of preference, rng) -> tasks one by one, and at last why there are no more
"""

import ast
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import combinations, islice, product

from rollin.tasks.faults.base import Fault, Files, apart, apply, faulty_lines, occurs, syntax_tree
from rollin.tasks.faults.regression import ROOT_SUBJECT, History, has_place, synthesise, undo_repair
from rollin.tasks.faults.revisions import README, Undo, undo_function
from rollin.tasks.faults.semantic import MOST, SEMANTIC
from rollin.tasks.faults.visible import VISIBLE
from rollin.tasks.probe import Failure, Outcome
from rollin.tasks.probe_inside import ASSERTED
from rollin.tasks.reports import symptom, write_report
from rollin.tasks.schema import Commit, Family, Task
from rollin.tasks.workbench import Workbench

Made = Iterator[Task | str]
Maker = Callable[[Workbench, Sequence[str], random.Random], Made]

FAULTS_PER_TASK = {1: 0.5, 2: 0.3, 3: 0.2}
"""How many visible faults a task holds, with weights, unless the order says how many."""
TRIES = 8
"""How many sets of faults, or mutations, one task may try."""
WINDOW = 3
"""Mutations tried at once, for each of the next tasks."""
AHEAD = 4
"""Tasks that are looked for at once, if so many are missing: a probe of several begins once."""


def make_visible(bench: Workbench, kinds: Sequence[str], rng: random.Random, faults: int | None = None) -> Made:
    """Tasks of so many visible faults that uncover one after another; one to three where it isn't said."""
    wanted = _how_many(bench, rng, faults)
    several, known = bench.wanted > 1, dict[tuple[Fault, ...], Outcome]()
    pool = [*islice(_proposals(bench, kinds, rng), None if several else wanted + TRIES)]
    if several:  # at once: a probe for each task would begin anew
        bench.note(pool)
        known = {(fault,): outcome for fault, outcome in zip(pool, bench.outcomes(_trees(bench, pool)), strict=True)}
        pool = [fault for fault in pool if _reveals(bench, [fault], known[(fault,)])]
    while not isinstance(found := _uncovering(bench, pool, wanted, known), str):
        chosen, outcome = found
        made = _visible_task(bench, chosen, outcome, rng)
        if isinstance(made, Task):
            yield made
        pool = [fault for fault in pool if fault not in chosen]
        wanted = _how_many(bench, rng, faults)
    yield found


def _how_many(bench: Workbench, rng: random.Random, faults: int | None) -> int:
    """Visible faults of the next task."""
    wanted = faults or rng.choices(list(FAULTS_PER_TASK), weights=list(FAULTS_PER_TASK.values()))[0]
    return max(2, wanted) if bench.unit.beside else wanted


def _uncovering(
    bench: Workbench, pool: Sequence[Fault], wanted: int, known: dict[tuple[Fault, ...], Outcome]
) -> tuple[tuple[Fault, ...], Outcome] | str:
    """So many faults of the pool that show one after another, with what the tests say of all; or why there are none.
    What they say of sets of faults is `known` from then on."""
    unseen = set[Fault]()
    possible = (some for some in combinations(pool, wanted) if not unseen & {*some})
    sets = (some for some in possible if _compatible(bench, some) and _spread(bench, some))
    reason = "no visible fault is left to try"
    for chosen in islice(sets, TRIES):
        bench.note(chosen)
        # what is left as faults get repaired in any order; the whole runs twice
        stages = [some for size in range(1, wanted + 1) for some in combinations(chosen, size)]
        new = [some for some in stages if some not in known]
        *outcomes, again = bench.outcomes([_tree(bench, some) for some in (*new, chosen)])
        known.update(zip(new, outcomes, strict=True))
        shown = {some: _reveals(bench, some, known[some]) for some in stages}
        if all(shown.values()) and again.passed == known[chosen].passed:
            return chosen, again
        unseen |= {fault for fault in chosen if not shown[(fault,)]}
        reason = "an exception doesn't point at the faulty line"
    return reason


def _proposals(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Iterator[Fault]:
    """Candidates, one of each kind in the order of preference, then a second one of each."""
    second = []
    for kind in kinds:
        for path in (bench.unit.path, *bench.unit.beside):
            faults = [fault for fault in VISIBLE[kind](bench.unit.code, path, rng) if fault not in bench.known]
            if faults:
                first, *others = rng.sample(faults, min(2, len(faults)))
                second += others
                yield first
    yield from second


def _spread(bench: Workbench, faults: Sequence[Fault]) -> bool:
    """Whether faults lie in several files, where they are to."""
    return not bench.unit.beside or len({fault.path for fault in faults}) > 1


def _reveals(bench: Workbench, faults: Sequence[Fault], outcome: Outcome) -> bool:
    """Whether tests fail, and every failure is an exception at a faulty line or one that names what is missing."""
    places = set(faulty_lines(bench.unit.code, faults))
    shown = [_points(failure, faults, places) for failure in outcome.failed.values()]
    return bool(shown) and bool(bench.broken(outcome)) and all(shown)


def _points(failure: Failure, faults: Sequence[Fault], places: set[tuple[str, int]]) -> bool:
    if failure.type in ("", *ASSERTED):
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
    symptoms = [symptom(name, failure, tests, unit.import_name) for name, failure in outcome.failed.items()]
    return write_report(symptoms, answers, rng, used_to=used_to)


def _tree(bench: Workbench, faults: Sequence[Fault]) -> dict[str, str | None]:
    """The files that faults change."""
    return _changes(bench.unit.code, apply(bench.unit.code, faults))


def _trees(bench: Workbench, faults: Iterable[Fault]) -> list[dict[str, str | None]]:
    """The files that each fault alone changes."""
    return [_tree(bench, [fault]) for fault in faults]


def _changes(before: Files, after: Files) -> dict[str, str | None]:
    """What leads from one state of the files to another."""
    return {path: after.get(path) for path in sorted({*before, *after}) if before.get(path) != after.get(path)}


def make_semantic(bench: Workbench, kinds: Sequence[str], rng: random.Random, faults: int | None = None) -> Made:
    """Tasks of so many mutations, one where it isn't said, that nothing but failing assertions reveals."""
    wanted = faults or (2 if bench.unit.beside else 1)
    reason, chosen = "no test notices a mutation", list[tuple[Fault, Outcome]]()
    for fault, outcome in _noticed(bench, _mutations(bench, kinds, rng), twice=True):
        together = [*(fault for fault, _ in chosen), fault]
        if not _asserts(outcome):
            reason = "a mutation shows by an exception"
        elif apart(bench.unit.code, fault, together[:-1]) and (len(together) < wanted or _spread(bench, together)):
            chosen.append((fault, outcome))
            reason = f"{len(chosen)} of {wanted} mutations were found that go together"
        if len(chosen) == wanted:
            made = _semantic_task(bench, chosen, rng)
            if isinstance(made, Task):
                yield made
                chosen, reason = [], "no test notices another mutation"
            else:
                chosen.pop()
                reason = made
    yield reason


def _asserts(outcome: Outcome) -> bool:
    """Whether nothing but assertions failed."""
    return all(failure.type in ASSERTED for failure in outcome.failed.values())


def _semantic_task(bench: Workbench, chosen: Sequence[tuple[Fault, Outcome]], rng: random.Random) -> Task | str:
    faults, outcomes = [fault for fault, _ in chosen], [outcome for _, outcome in chosen]
    tree = _tree(bench, faults)
    if len(faults) > 1:
        outcomes = bench.outcomes([tree], twice=True)
        if not outcomes[0].passed or not outcomes[0].steady or not _asserts(outcomes[0]):
            return "the mutations together do something else"
    statement = report(bench, outcomes[0], [fault.answer for fault in faults], rng, used_to=False)
    if statement is None:
        return "every report would give the repair away"
    fixed = {path: bench.unit.files[path] for path in tree}
    kinds = [fault.kind for fault in faults]
    return bench.task(Family.SEMANTIC, kinds, statement, [Commit(subject=ROOT_SUBJECT, files=tree)], fixed, outcomes[0])


def _noticed(bench: Workbench, mutations: Iterable[Fault], *, twice: bool) -> Iterator[tuple[Fault, Outcome]]:
    """Those that tests notice, in the same order, with what the tests say; `twice`, what they deny by assertions they
    deny twice."""
    executed = (fault for fault in mutations if _is_executed(bench, fault))
    while window := list(islice(executed, WINDOW * _at_once(bench))):
        bench.note(window)
        outcomes = bench.outcomes(_trees(bench, window), twice=twice)
        for fault, outcome in zip(window, outcomes, strict=True):
            if outcome.passed and outcome.steady and bench.broken(outcome):
                yield fault, outcome


def _at_once(bench: Workbench) -> int:
    """How many tasks are looked for at once: those that are missing. A maker may be asked for more than were wanted."""
    return min(max(1, bench.missing), AHEAD)


def _is_executed(bench: Workbench, fault: Fault) -> bool:
    """Whether tests could notice a mutation: they run the line. Where that isn't known, they may."""
    [(path, line)] = faulty_lines(bench.unit.code, [fault])
    return not bench.executed or line in bench.executed.get(path, ())


def _mutations(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Iterator[Fault]:
    """Two mutations of each kind in each file, in the order of preference, found only as they are asked for. Where
    several tasks are wanted, two more of each when these are through, and so on."""
    found: dict[tuple[str, str], list[Fault]] = {}
    for first in range(0, min(2 * bench.wanted, MOST), 2):
        for of in product(kinds, (bench.unit.path, *bench.unit.beside)):
            if of not in found:
                kind, path = of
                found[of] = [fault for fault in SEMANTIC[kind](bench.unit.code, path, rng) if fault not in bench.known]
            yield from found[of][first : first + 2]


def make_regression(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Made:
    """Tasks whose history holds one commit that broke it."""
    reason, told = "no history fits a mutation", _histories(bench, kinds, rng)
    while some := list(islice(told, _at_once(bench))):
        standing = [each for each, stands in zip(some, _stand_before(bench, some), strict=True) if stands]
        reason = "other units' tests fail before the bad commit"
        for (fault, history), outcomes in zip(standing, _outcomes(bench, standing), strict=True):
            made = _regression_task(bench, fault, history, outcomes, rng)
            if isinstance(made, Task):
                yield made
                reason = "no other history fits a mutation"
            else:
                reason = made
    yield reason


def _histories(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Iterator[tuple[Fault, History]]:
    """Histories that break something, each with what it breaks; no more once none was found so often in a row."""
    vain = 0
    for fault, feature in islice(_breaking(bench, kinds, rng), TRIES * bench.wanted):
        bench.note([fault])
        history = synthesise(_with_readme(bench), fault, rng, feature)
        vain = 0 if history else vain + 1
        if history:
            yield fault, history
        if vain == TRIES:
            return


def _regression_task(
    bench: Workbench, fault: Fault, history: History, outcomes: Sequence[Outcome], rng: random.Random
) -> Task | str:
    """The task, whose `outcomes` are those of the history's states and of the last one again; or why it is none. That
    all tests pass once it is repaired, a task's validation shows."""
    *states, again = outcomes
    statement = report(bench, states[-1], [fault.answer], rng, used_to=True)
    if objection := _objection(history.bad, states):
        return objection
    if again.passed != states[-1].passed:
        return "its tests don't say the same twice"
    if statement is None:
        return "every report would give the repair away"
    fixed = {fault.path: history.repaired[fault.path]}
    kinds = [fault.kind, *(["conflicting_revert"] if history.conflicts else [])]
    return bench.task(Family.REGRESSION, kinds, statement, history.commits(bench.unit.files), fixed, states[-1])


def _breaking(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Iterator[tuple[Fault, Undo]]:
    """What a commit may break, each with how to take back a feature that came later. Of a kata that is a function. Any
    function of a package may be needed elsewhere in it, so there something else was repaired, which other tests
    notice."""
    files, mutations = bench.unit.files, _mutations(bench, kinds, rng)
    if bench.unit.source == "kata":
        yield from ((fault, undo_function) for fault in mutations)
        return
    known = list[tuple[Fault, set[str]]]()
    placed = (fault for fault in mutations if has_place(files, fault))
    for fault, outcome in _noticed(bench, placed, twice=False):  # that its tests are steady, the history's end shows
        tests = {name.partition("[")[0] for name in outcome.failed}
        yield fault, undo_repair(files, [(other, seen_by) for other, seen_by in known if not seen_by & tests])
        known.append((fault, tests))


def _stand_before(bench: Workbench, some: Sequence[tuple[Fault, History]]) -> list[bool]:
    """Whether all tests of a package pass at each history's first commit, which lacks all that others brought; a kata
    has no other tests than its own."""
    if bench.unit.source == "kata":
        return [True] * len(some)
    return bench.stand([_changes(bench.unit.files, history.states[0]) for _, history in some])


def _outcomes(bench: Workbench, some: Sequence[tuple[Fault, History]]) -> list[list[Outcome]]:
    """What the tests say of each history's states, of the last one twice."""
    states = [[*history.states, history.states[-1]] for _, history in some]
    trees = [_changes(bench.unit.files, state) for each in states for state in each]
    outcomes = iter(bench.outcomes(trees) if trees else ())
    return [list(islice(outcomes, len(each))) for each in states]


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
    about = (ast.get_docstring(syntax_tree(unit.files[unit.path])) or unit.module).splitlines()[0]
    return {**unit.files, README: f"# {unit.module}\n\n{about}\n"}


MAKERS: dict[Family, tuple[Maker, Sequence[str]]] = {
    Family.VISIBLE: (make_visible, tuple(VISIBLE)),
    Family.REGRESSION: (make_regression, tuple(SEMANTIC)),
    Family.SEMANTIC: (make_semantic, tuple(SEMANTIC)),
}
"""Each family's maker and the kinds it knows."""


def maker_of(family: Family, faults: int | None) -> Maker:
    """The family's maker, with that many faults in a task; a regression is always one."""
    severally: dict[Family, Callable[..., Made]] = {
        Family.VISIBLE: make_visible,
        Family.SEMANTIC: make_semantic,
    }
    return partial(severally[family], faults=faults) if family in severally else MAKERS[family][0]
