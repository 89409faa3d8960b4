"""Visible faults that go together: whichever is repaired first, the next one shows.

Pool       the faults of a unit that tasks may be made of, and what the tests said of sets of them
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, islice

from rollin.tasks.faults.base import Fault, apart, apply, faulty_lines, occurs
from rollin.tasks.probe import Failure, Outcome
from rollin.tasks.run_inside import ASSERTED
from rollin.tasks.units import Unit
from rollin.tasks.workbench import Workbench

Faults = tuple[Fault, ...]


class Pool:
    """Faults are taken in as proposals come, and leave it with the set that they were chosen for."""

    def __init__(self, bench: Workbench, proposals: Iterator[Fault]) -> None:
        self._bench = bench
        self._proposals = proposals
        self._faults: list[Fault] = []
        self._known: dict[Faults, Outcome] = {}
        self._refuted: set[Faults] = set()

    def take(self, count: int) -> None:
        """Take in the next so many faults, whatever the tests say of them."""
        self._faults += islice(self._proposals, count)

    def grow(self, count: int) -> bool:
        """Take in those of the next so many faults that show; False if none was left."""
        before = len(self._faults)
        self.take(count)
        new = self._faults[before:]
        if new:
            self._ask([(fault,) for fault in new])
            self._drop_the_unseen()
        return bool(new)

    def choose(self, sizes: Sequence[int]) -> list[Faults]:
        """For each size a set of faults that may go together, none of them in two sets; fewer sets where it has none
        of a size."""
        chosen, left = list[Faults](), self._faults
        for size in sizes:
            possible = (some for some in combinations(left, size) if some not in self._refuted and self._fits(some))
            chosen += islice(possible, 1)
            left = [fault for fault in self._faults if not any(fault in some for some in chosen)]
        return chosen

    def uncover(self, sets: Sequence[Faults]) -> list[Outcome | None]:
        """What the tests say of each set whose faults show one after another, whichever is repaired first; None of
        another. Each runs twice, as a whole."""
        parts = {some: [part for size in range(1, len(some) + 1) for part in combinations(some, size)] for some in sets}
        again = self._ask([part for some in sets for part in parts[some] if part not in self._known], sets)
        found = [
            outcome if outcome.passed == self._known[some].passed and all(map(self._shows, parts[some])) else None
            for some, outcome in zip(sets, again, strict=True)
        ]
        held = {fault for some, outcome in zip(sets, found, strict=True) if outcome for fault in some}
        self._faults = [fault for fault in self._faults if fault not in held]
        self._refuted.update(some for some, outcome in zip(sets, found, strict=True) if not outcome)
        self._drop_the_unseen()
        return found

    def _ask(self, sets: Sequence[Faults], again: Sequence[Faults] = ()) -> list[Outcome]:
        """Find out what the tests say of each of the sets, and what all of them say of others `again`."""
        outcomes = self._bench.with_faults(sets, again)
        self._known.update(zip(sets, outcomes, strict=False))
        return outcomes[len(sets) :]

    def _drop_the_unseen(self) -> None:
        """A fault that doesn't show alone is of no use beside others."""
        self._faults = [fault for fault in self._faults if (fault,) not in self._known or self._shows((fault,))]

    def _fits(self, faults: Faults) -> bool:
        """Whether faults lie apart (in several files, where they are to), and each right spelling still stands
        somewhere when all are in."""
        unit = self._bench.unit
        if not spread(unit, faults):
            return False
        if not all(apart(unit.code, fault, faults[:place]) for place, fault in enumerate(faults)):
            return False
        text = "\n".join(apply(unit.code, faults).values())
        return all(occurs(fault.answer, text) for fault in faults if fault.answer.isidentifier())

    def _shows(self, faults: Faults) -> bool:
        """Whether tests fail, and every failure is an exception at a faulty line or one that names what is missing."""
        outcome, places = self._known[faults], {*faulty_lines(self._bench.unit.code, faults)}
        shown = [_points(failure, faults, places) for failure in outcome.failed.values()]
        return bool(shown) and bool(self._bench.broken(outcome)) and all(shown)


def spread(unit: Unit, faults: Sequence[Fault]) -> bool:
    """Whether faults lie in several files, where they are to."""
    return not unit.beside or len({fault.path for fault in faults}) > 1


def _points(failure: Failure, faults: Faults, places: set[tuple[str, int]]) -> bool:
    if failure.type in ("", *ASSERTED):
        return False
    return failure.at in places or any(fault.shows and fault.shows in failure.message for fault in faults)
