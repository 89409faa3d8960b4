"""Makes tasks of one unit: proposes faults, tries them, keeps those that behave as their family says.

Maker      (workbench, kinds in order of preference, rng) -> tasks one by one, and at last why there are no more
"""

import ast
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, product

from rollin.tasks.faults.base import Fault, Files, apart, changes, syntax_tree
from rollin.tasks.faults.regression import ROOT_SUBJECT, History, has_place, synthesise, undo_repair
from rollin.tasks.faults.revisions import README, Undo, undo_function
from rollin.tasks.faults.semantic import MOST, SEMANTIC
from rollin.tasks.faults.visible import VISIBLE
from rollin.tasks.probe import Only, Outcome
from rollin.tasks.reports import symptom, write_report
from rollin.tasks.run_inside import ASSERTED
from rollin.tasks.schema import Commit, Family, Task
from rollin.tasks.uncovering import Pool, spread
from rollin.tasks.workbench import Workbench

Made = Iterator[Task | str]
Maker = Callable[[Workbench, Sequence[str], random.Random], Made]

FAULTS_PER_TASK = {1: 0.5, 2: 0.3, 3: 0.2}
"""How many visible faults a task holds, with weights, unless the order says how many."""
TRIES = 8
"""How many sets of faults, or mutations, one task may try."""
WINDOW = 3
"""Mutations tried at once, for each of the next tasks."""
REPAIRED = 3
"""Faults that histories of a package's unit may have had repaired."""
AHEAD = 4
"""Histories that are tried at once: a probe of several begins once."""


def make_visible(bench: Workbench, kinds: Sequence[str], rng: random.Random, faults: int | None = None) -> Made:
    """Tasks of so many visible faults that uncover one after another; one to three where it isn't said."""
    sizes = [_how_many(bench, rng, faults) for _ in range(_missing(bench))]
    pool = Pool(bench, _proposals(bench, kinds, rng))
    if bench.wanted == 1:  # few will do, and most show
        pool.take(sizes[0] + TRIES)
    reason, vain = "no visible fault is left to try", 0
    while vain < TRIES:
        chosen = pool.choose(sizes)
        if bench.wanted > 1 and len(chosen) < len(sizes) and pool.grow(WINDOW * max(2, _missing(bench))):
            continue
        if not chosen:
            break
        for some, outcome in zip(chosen, pool.uncover(chosen), strict=True):
            if outcome is None:
                vain, reason = vain + 1, "an exception doesn't point at the faulty line"
                continue
            vain, reason = 0, "no visible fault is left to try"
            sizes.remove(len(some))
            made = _visible_task(bench, some, outcome, rng)
            if isinstance(made, Task):
                yield made
        more = _missing(bench) - len(sizes)
        sizes = [*sizes, *(_how_many(bench, rng, faults) for _ in range(more))][: _missing(bench)]
    yield reason


def _how_many(bench: Workbench, rng: random.Random, faults: int | None) -> int:
    """Visible faults of the next task."""
    wanted = faults or rng.choices(list(FAULTS_PER_TASK), weights=list(FAULTS_PER_TASK.values()))[0]
    return max(2, wanted) if bench.unit.beside else wanted


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


def _visible_task(bench: Workbench, faults: Sequence[Fault], outcome: Outcome, rng: random.Random) -> Task | str:
    statement = report(bench, outcome, [fault.answer for fault in faults], rng, used_to=False)
    if statement is None:
        return "every report would give the repair away"
    tree = bench.tree(faults)
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


def make_semantic(bench: Workbench, kinds: Sequence[str], rng: random.Random, faults: int | None = None) -> Made:
    """Tasks of so many mutations, one where it isn't said, that nothing but failing assertions reveals."""
    wanted = faults or (2 if bench.unit.beside else 1)
    reason, chosen = "no test notices a mutation", list[tuple[Fault, Outcome]]()
    for fault, outcome in _noticed(bench, _mutations(bench, kinds, rng), "asserted", wanted):
        together = [*(fault for fault, _ in chosen), fault]
        if not _asserts(outcome):
            reason = "a mutation shows by an exception"
        elif apart(bench.unit.code, fault, together[:-1]) and (len(together) < wanted or spread(bench.unit, together)):
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
    tree = bench.tree(faults)
    if len(faults) > 1:
        outcomes = bench.outcomes([tree], only="asserted")
        if not outcomes[0].passed or not outcomes[0].steady or not _asserts(outcomes[0]):
            return "the mutations together do something else"
    statement = report(bench, outcomes[0], [fault.answer for fault in faults], rng, used_to=False)
    if statement is None:
        return "every report would give the repair away"
    fixed = {path: bench.unit.files[path] for path in tree}
    kinds = [fault.kind for fault in faults]
    return bench.task(Family.SEMANTIC, kinds, statement, [Commit(subject=ROOT_SUBJECT, files=tree)], fixed, outcomes[0])


def _noticed(
    bench: Workbench, mutations: Iterable[Fault], only: Only, per_task: int = 1
) -> Iterator[tuple[Fault, Outcome]]:
    """Those that tests notice, in the same order, with what the tests say; `only` as in `probe`. No more are tried at
    once than it takes to find as many as are missing."""
    mutations, window = iter(mutations), list[Fault]()
    while window := window or [*islice(mutations, WINDOW * bench.wanted)]:
        enough = per_task * _missing(bench) if only else None
        outcomes = bench.with_faults([[fault] for fault in window], only=only, enough=enough)
        for fault, outcome in zip(window, outcomes, strict=False):
            if bench.broken(outcome) and outcome.passed and outcome.steady:
                yield fault, outcome
        window = window[len(outcomes) :]


def _missing(bench: Workbench) -> int:
    """How many tasks are looked for. A maker may be asked for more than were wanted."""
    return max(1, bench.missing)


def _mutations(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Iterator[Fault]:
    """Two mutations of each kind in each file, in the order of preference, found only as they are asked for. Where
    several tasks are wanted, two more of each when these are through, and so on."""
    found: dict[tuple[str, str], Iterator[Fault]] = {}
    for _ in range(0, min(2 * bench.wanted, MOST), 2):
        for of in product(kinds, (bench.unit.path, *bench.unit.beside)):
            if of not in found:
                kind, path = of
                faults = SEMANTIC[kind](bench.unit.code, path, rng)
                found[of] = (fault for fault in faults if fault not in bench.known)
            yield from islice(found[of], 2)


def make_regression(bench: Workbench, kinds: Sequence[str], rng: random.Random) -> Made:
    """Tasks whose history holds one commit that broke it."""
    reason, told = "no history fits a mutation", _histories(bench, kinds, rng)
    while some := list(islice(told, min(_missing(bench), AHEAD))):
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
    placed = (fault for fault in mutations if has_place(files, fault))
    noticed = _noticed(bench, placed, "")  # that its tests are steady, the history's end shows
    seen = ((fault, {name.partition("[")[0] for name in outcome.failed}) for fault, outcome in noticed)
    repaired = list[tuple[Fault, set[str]]]()
    while some := list(islice(seen, AHEAD)):
        if len(repaired) < REPAIRED:
            repaired += _repaired_alone(bench, some, rng)
        for fault, tests in some:
            others = [(other, seen_by) for other, seen_by in repaired if other != fault and not seen_by & tests]
            yield fault, undo_repair(files, others)


def _repaired_alone(
    bench: Workbench, seen: Sequence[tuple[Fault, set[str]]], rng: random.Random
) -> list[tuple[Fault, set[str]]]:
    """Those faults that no test notices but the unit's own: it takes them all back to before a repair."""
    files = bench.unit.files
    before = [undo_repair(files, [each])(files, bench.unit.path, rng) for each in seen]
    placed = [(each, revision) for each, revision in zip(seen, before, strict=True) if revision]
    stand = bench.stand([changes(files, revision.files) for _, revision in placed])
    return [each for (each, _), stands in zip(placed, stand, strict=True) if stands]


def _stand_before(bench: Workbench, some: Sequence[tuple[Fault, History]]) -> list[bool]:
    """Whether all tests of a package pass at each history's first commit, which lacks all that others brought; a kata
    has no other tests than its own."""
    if bench.unit.source == "kata":
        return [True] * len(some)
    return bench.stand([changes(bench.unit.files, history.states[0]) for _, history in some])


def _outcomes(bench: Workbench, some: Sequence[tuple[Fault, History]]) -> list[list[Outcome]]:
    """What the tests say of each history's states, of the last one twice."""
    states = [[*history.states, history.states[-1]] for _, history in some]
    trees = [changes(bench.unit.files, state) for each in states for state in each]
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
