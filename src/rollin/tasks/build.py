"""Builds task files: picks units and kinds in turn, makes tasks, keeps what grades as it should.

Order      what to build: so many tasks of one family and one split, from katas or packages
Visit      what one unit is asked for at once: a task, or several where many are ordered
Candidate  what came of one visit; cached by everything it depends on, so a stopped build goes on where it was
Built      the tasks that were kept, and why others were dropped
"""

import hashlib
import os
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from math import ceil
from pathlib import Path

from pydantic import BaseModel

from rollin.errors import UserError
from rollin.tasks.cache import cache_folder, code_version
from rollin.tasks.faults.base import Fault
from rollin.tasks.makers import MAKERS, maker_of
from rollin.tasks.packages import OWN, package_units
from rollin.tasks.schema import Family, Split, Task, write_tasks
from rollin.tasks.units import FOLDERS, Unit, katas
from rollin.tasks.validation import Validation
from rollin.tasks.workbench import FlakyTestsError, Workbench

SPLIT_SALT = "rollin-1"
"""Fixes which kata is on which side, whatever the seed: results of different seeds stay comparable."""
TRAIN_KATAS = 24
WAVE = 8
"""Attempts between two looks at which kinds are rare. Fixed, so that the number of workers changes nothing."""
WORKERS = min(os.cpu_count() or 1, WAVE)
"""Attempts at once, where it isn't said."""
MOST_OF_A_VISIT = 8
"""Tasks that one unit gives at once. Few modules have more faults that differ."""
PATIENCE = 3
"""A unit that failed so often in a row is left alone."""


@dataclass(frozen=True)
class Order:
    """What to build."""

    source: str
    """`kata` or `package`."""
    family: Family
    split: Split
    count: int
    seed: int = 0
    faults: int | None = None
    """Faults in a task of the visible family; one to three if left out."""
    kinds: tuple[str, ...] = ()
    """Only these kinds of faults; all if empty."""
    folders: bool = False
    """Each kata lies in a folder, another one in each task."""
    spread: bool = False
    """Faults of a task lie in several files of its package."""
    catalogue: Path = OWN
    """The packages, if the source is `package`."""

    @property
    def file_name(self) -> str:
        """The task file's name."""
        return f"{self.source}-{self.family.value}-{self.split.value}.jsonl"

    def chance(self, *of: object) -> random.Random:
        """What decides about a part of the order: the same whenever the order is."""
        special = [*self.kinds, *(name for name in ("folders", "spread") if getattr(self, name))]
        return random.Random(" ".join(map(str, [self.seed, self.file_name, *special, *of])))


class Candidate(BaseModel):
    """What one visit to a unit gave: tasks, and why not as many as were wanted."""

    tasks: list[Task] = []
    dropped: list[str] = []
    """A reason for each that came to nothing."""
    tried: list[Fault] = []
    """The faults that were put in, whatever came of them."""
    seconds: float = 0.0
    """Wall time."""


@dataclass
class Built:
    """The kept tasks, in the order in which they were made, and the dropped candidates by reason."""

    tasks: list[Task] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(default_factory=Counter)
    """How many faults of each kind were put in."""
    seconds: list[float] = field(default_factory=list)
    """For each kept task what it took a worker, with the candidates before it that came to nothing."""

    @property
    def kinds(self) -> Counter[str]:
        """How many faults of each kind the tasks hold."""
        return Counter(kind for task in self.tasks for kind in task.fault_kinds)


def units_of(source: str, split: Split, catalogue: Path = OWN) -> list[Unit]:
    """The units on one side of the fixed split. UserError for a source that doesn't exist."""
    if source == "kata":
        units, share = katas(), TRAIN_KATAS
    elif source == "package":
        units = package_units(catalogue)
        share = 2 * len({unit.module for unit in units}) // 3
    else:
        raise UserError(f"there are no tasks from {source!r}; the sources are kata and package")
    modules = sorted({unit.module for unit in units}, key=lambda name: _digest(SPLIT_SALT, name))
    side = set(modules[:share] if split is Split.TRAIN else modules[share:])
    return [unit for unit in units if unit.module in side]


def build(
    order: Order, cache_dir: Path | None = None, workers: int = WORKERS, advance: Callable[[int], None] | None = None
) -> Built:
    """Make the ordered tasks, or as many as the units yield. `advance` hears of each kept task.

    The same order gives the same tasks, however many workers there are. UserError for an impossible order.
    """
    if order.count < 1:
        raise UserError(f"cannot build {order.count} tasks of {order.file_name}; ask for at least 1")
    if order.family not in MAKERS:
        known = ", ".join(family.value for family in MAKERS)
        raise UserError(f"the family {order.family.value!r} can't be built; choose from {known}")
    folder, built, rotation = cache_dir or cache_folder(), Built(), Rotation(_units(order), order)
    seen, spent = set[str](), 0.0
    with ThreadPoolExecutor(workers) as pool:
        while len(built.tasks) < order.count:
            wave = rotation.next_wave(order.count - len(built.tasks), built.kinds)
            if not wave:
                break
            for visit, candidate in zip(
                wave, pool.map(lambda visit: _candidate(order, visit, folder), wave), strict=True
            ):
                new = [*{task.base_commit: task for task in candidate.tasks if task.base_commit not in seen}.values()]
                kept = new[: order.count - len(built.tasks)]
                built.tried.update(fault.kind for fault in candidate.tried)
                built.dropped.update(candidate.dropped)
                built.dropped["the same task was made before"] += len(candidate.tasks) - len(new)
                spent += candidate.seconds
                rotation.note(visit, candidate.tried, succeeded=bool(new))
                seen |= {task.base_commit for task in new}
                built.tasks += kept
                if new:
                    built.seconds += [spent / len(new)] * len(kept)
                    spent = 0.0
                if advance:
                    advance(len(kept))
    built.dropped = +built.dropped
    return built


def _units(order: Order) -> list[Unit]:
    """Where its faults can be put. UserError where there is no such place."""
    units = units_of(order.source, order.split, order.catalogue)
    if order.spread:
        units = [unit for unit in (unit.among(units) for unit in units) if unit.beside]
    if not units:
        raise UserError(f"no module of {order.file_name} has what is ordered; ask for another split or other packages")
    return units


def build_file(
    order: Order, folder: Path, workers: int = WORKERS, advance: Callable[[int], None] | None = None
) -> Built:
    """Build and write `<source>-<family>-<split>.jsonl` in `folder`."""
    built = build(order, workers=workers, advance=advance)
    write_tasks(folder / order.file_name, built.tasks)
    return built


@dataclass(frozen=True)
class Visit:
    """A visit to one unit: its how-manieth, the kinds it should prefer, and how much of them."""

    unit: Unit
    number: int
    kinds: tuple[str, ...]
    wanted: int
    """How many tasks."""
    known: frozenset[Fault] = frozenset()
    """Faults that need no other try: earlier visits had them."""


class Rotation:
    """Who is visited next: modules take turns, and in each its units. Rare kinds first; who fails often falls out."""

    def __init__(self, units: Sequence[Unit], order: Order) -> None:
        self._order = order
        self._rng = order.chance()
        self._modules: dict[str, deque[Unit]] = {}
        self._wanted = _of_a_visit(order, len(units))
        for unit in self._rng.sample(list(units), len(units)):
            self._modules.setdefault(unit.module, deque()).append(unit)
        self._queue = deque(self._modules)
        self._taken: Counter[str] = Counter()
        """By name: units that share one are told apart by the number, which decides their draws."""
        self._failures: Counter[tuple[str, str]] = Counter()
        """By module and path."""
        self._known: dict[tuple[str, str], frozenset[Fault]] = {}
        """By module and path; kept where a visit is asked for several tasks, for it has tried many faults."""

    def next_wave(self, wanted: int, used: Counter[str]) -> list[Visit]:
        """The next visits, at most as many as give the wanted number of tasks."""
        wave: list[Visit] = []
        while self._queue and len(wave) < min(ceil(wanted / self._wanted), WAVE):
            self._queue.rotate(-1)
            units = self._modules[self._queue[-1]]
            units.rotate(-1)
            unit = units[-1]
            known = self._known.get((unit.module, unit.path), frozenset())
            wave.append(Visit(unit, self._taken[unit.name], self._preference(used), self._wanted, known))
            self._taken[unit.name] += 1
        return wave

    def note(self, visit: Visit, tried: Iterable[Fault], *, succeeded: bool) -> None:
        """Remember how a visit ended, and the faults that it tried."""
        unit = visit.unit
        key = (unit.module, unit.path)
        if visit.wanted > 1:
            self._known[key] = self._known.get(key, frozenset()).union(tried)
        self._failures[key] = 0 if succeeded else self._failures[key] + 1
        if self._failures[key] >= PATIENCE and unit in self._modules[unit.module]:
            self._modules[unit.module].remove(unit)
            if not self._modules[unit.module]:
                self._queue.remove(unit.module)

    def _preference(self, used: Counter[str]) -> tuple[str, ...]:
        """Kinds, rarest first; the draw among near equals keeps one wave from agreeing on one kind."""
        kinds = self._order.kinds or MAKERS[self._order.family][1]
        rank = {kind: used[kind] + 2 * self._rng.random() for kind in kinds}
        return tuple(sorted(kinds, key=rank.__getitem__))


def _of_a_visit(order: Order, units: int) -> int:
    """Tasks that a unit is asked for at once: of a package as many as the order needs of each anyway, for its tests
    and its syntax tree take long to be looked through. Katas are small."""
    return min(ceil(order.count / units), MOST_OF_A_VISIT) if order.source == "package" else 1


def _candidate(order: Order, visit: Visit, folder: Path) -> Candidate:
    """Pay the visit, or read what it gave before."""
    unit, anywhere = visit.unit, replace(order, count=1, catalogue=Path())
    identity = (
        code_version(),
        anywhere,
        visit.number,
        visit.kinds,
        visit.wanted,
        sorted(visit.known),
        unit.pristine,
        sorted(unit.files.items()),
    )
    place = folder / "candidates" / f"{_digest(*map(repr, identity))}.json"
    if place.exists():
        return Candidate.model_validate_json(place.read_text())
    started = time.monotonic()
    candidate = _make(order, visit, folder)
    candidate = candidate.model_copy(update={"seconds": time.monotonic() - started})
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(f".{id(candidate)}.part")
    partial.write_text(candidate.model_dump_json())
    partial.rename(place)
    return candidate


def _make(order: Order, visit: Visit, folder: Path) -> Candidate:
    make = maker_of(order.family, order.faults)
    rng = order.chance(visit.unit.name, visit.number)
    unit = visit.unit.within(rng.choice(FOLDERS)) if order.folders else visit.unit
    with Workbench(unit, folder / "repositories", visit.wanted, visit.known) as bench:
        try:
            made = [*islice(make(bench, visit.kinds, rng), visit.wanted)]
        except FlakyTestsError as error:
            made = [str(error)]
        tried = sorted(bench.tried)
    tasks, dropped = list[Task](), [each for each in made if isinstance(each, str)]
    validation = Validation(folder / "repositories")
    for task in made:
        if isinstance(task, Task) and validation.resolves(task):
            tasks.append(task.model_copy(update={"split": order.split}))
        elif isinstance(task, Task):
            dropped.append("the reference patch does not resolve it")
    return Candidate(tasks=tasks, dropped=dropped, tried=tried)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
