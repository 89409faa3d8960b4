"""Methods side by side: the same tasks, the same student, several seeds; a run each, and what sets them apart.

Arm           one method with one seed: a recipe, and the run that is made of it
Comparison    all arms, in the order in which they run; repeated, it goes on where it was stopped
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollin import runs
from rollin.errors import UserError
from rollin.evaluation.paired import Outcomes
from rollin.method import METHODS
from rollin.progress import Reporter
from rollin.recipe import Budget, EvaluationSettings, Recipe, nearest, parse_recipe
from rollin.report.measures import STUDENT
from rollin.store import IterationRow, Phase, Purpose, Store

MATCHED = "sft-matched"
"""The control: SFT with as many labels as DAgger had. More teacher data, and no mixing."""
MATCHED_TO = "dagger"
SPARE = 1.5
"""Tasks that the control collects for each of DAgger's: the teacher alone takes fewer turns, so it needs more."""
BASE = "base"
"""The student before training, measured once for all arms."""


@dataclass(frozen=True)
class Arm:
    """One method with one seed."""

    name: str
    seed: int
    recipe: Recipe
    directory: Path

    @property
    def title(self) -> str:
        return f"{self.name}, seed {self.seed}"

    @property
    def begun(self) -> bool:
        return (self.directory / runs.DATABASE).is_file()

    @property
    def done(self) -> bool:
        """Whether its run has come to its end."""
        last = self.last()
        return last is not None and last.number == self.recipe.iterations and last.phase is Phase.DONE

    @property
    def seconds(self) -> float:
        """From its first iteration's beginning to its last one's end, pauses included; 0 while it isn't done."""
        if not self.done:
            return 0.0
        with Store.read(self.directory / runs.DATABASE) as store:
            rounds = store.iterations()
        return (rounds[-1].ended or rounds[-1].started) - rounds[0].started

    def last(self) -> IterationRow | None:
        """Its latest iteration."""
        if not self.begun:
            return None
        with Store.read(self.directory / runs.DATABASE) as store:
            return next(iter(reversed(store.iterations())), None)

    def labels(self) -> int:
        """How many labels its last iteration trained on."""
        last = self.last()
        return last.trained("labels") if last else 0

    def outcomes(self) -> Outcomes:
        """Of its last evaluation: (seed, task) -> resolved."""
        return outcomes_of(self.directory, self.seed)


def outcomes_of(directory: Path, seed: int) -> Outcomes:
    """Of a run's last evaluation of its student; what the infrastructure ended is left out."""
    with Store.read(directory / runs.DATABASE) as store:
        measured = [e.iteration for e in store.evaluations() if e.policy == STUDENT]
        if not measured:
            return {}
        rows = store.trajectories(iteration=measured[-1], purpose=Purpose.EVAL)
    return {(seed, row.instance_id): row.resolved for row in rows if row.resolved is not None}


@dataclass(frozen=True)
class Comparison:
    """All arms of a comparison."""

    recipe: Recipe
    methods: Sequence[str]
    seeds: Sequence[int]
    directory: Path

    def __post_init__(self) -> None:
        known = [*METHODS, MATCHED]
        for name in (*self.methods, *self.recipe.arms):
            if name not in known:
                raise UserError(f"{name!r} is no method{nearest(name, known)}")
        if MATCHED in self.methods and MATCHED_TO not in self.methods:
            raise UserError(f"{MATCHED} has as many labels as {MATCHED_TO} had; add {MATCHED_TO} to --methods")
        self.arms()  # what is wrong with an arm is said before the first one runs

    def arms(self) -> list[Arm]:
        """Seed by seed, so that a comparison that is stopped has all methods of the seeds that are done; what is
        matched comes last."""
        names = sorted(self.methods, key=lambda name: (name == MATCHED, self.methods.index(name)))
        return [self._arm(name, seed) for seed in self.seeds for name in names]

    def arm(self, name: str, seed: int) -> Arm:
        return next(arm for arm in self.arms() if (arm.name, arm.seed) == (name, seed))

    def run(self, reporter: Reporter) -> None:
        """Bring every arm to its end. Raises whatever stops a run; run again, it goes on. UserError where an arm was
        begun with other settings: two recipes in one table would be no comparison."""
        for arm in self.arms():
            if arm.begun and not self._is_of(arm):
                raise UserError(f"{arm.directory} was begun with other settings; choose another directory with --out")
        if not outcomes_of_base(self.directory):
            reporter.say("the student before training")
            runs.evaluate(self.recipe, self.directory / BASE, reporter)
        arms = self.arms()
        for number, arm in enumerate(arms, 1):
            if arm.done:
                continue
            reporter.say(f"{number} of {len(arms)}: {arm.title}{self._left(arms)}")
            if arm.begun:
                runs.resume(arm.directory, reporter)
            else:
                runs.start(self._matched(arm), arm.directory, reporter)

    def outcomes(self, name: str) -> Outcomes:
        """Of a method's arms that are done."""
        return {pair: resolved for arm in self.done(name) for pair, resolved in arm.outcomes().items()}

    def done(self, name: str) -> Iterator[Arm]:
        """A method's arms that are done."""
        return (arm for arm in self.arms() if arm.name == name and arm.done)

    def _arm(self, name: str, seed: int) -> Arm:
        method = self.recipe.method if name == self.recipe.method.name else METHODS["sft" if name == MATCHED else name]
        common = self.recipe.model_dump(mode="json") | {"method": method.model_dump(mode="json")}
        of_comparison = {
            "name": f"{name}-{seed}",
            "seed": seed,
            "evaluation": EvaluationSettings(when=self.recipe.evaluation.when, base=False).model_dump(),
            "arms": {},
        }
        recipe = parse_recipe(_changed(common, self.recipe.arms.get(name, {})) | of_comparison, f"the arm {name}")
        return Arm(name, seed, recipe, self.directory / f"{name}-{seed}")

    def _matched(self, arm: Arm) -> Recipe:
        """An arm's recipe; the control's once it is known what it has to match."""
        if arm.name != MATCHED:
            return arm.recipe
        model = self.arm(MATCHED_TO, arm.seed)
        sizes = [math.ceil(SPARE * model.recipe.tasks_in(i)) for i in range(1, model.recipe.iterations + 1)]
        budget = Budget(labels=model.labels())
        return arm.recipe.model_copy(update={"tasks_per_iteration": sizes, "budget": budget})

    def _is_of(self, arm: Arm) -> bool:
        """Whether a run was made of the arm's recipe, but for what the control takes from another arm."""
        with Store.read(arm.directory / runs.DATABASE) as store:
            begun = dict(store.recipe())
        free = {"tasks_per_iteration", "budget"} if arm.name == MATCHED else set[str]()
        return all(
            begun.get(key) == value for key, value in arm.recipe.model_dump(mode="json").items() if key not in free
        )

    def _left(self, arms: Sequence[Arm]) -> str:
        """An estimate from the arms that are done; empty where none is."""
        known = [arm.seconds for arm in arms if arm.done]
        left = len(arms) - len(known)
        return f"; about {sum(known) / len(known) * left / 60:.0f} minutes left" if known else ""


def _changed(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with an arm's own settings: of a group those that it names, unless it is a group of another kind."""
    changed = dict(common)
    for name, value in own.items():
        group = common.get(name)
        same = isinstance(group, dict) and isinstance(value, dict) and value.get("kind") in (None, group.get("kind"))
        changed[name] = {**group, **value} if same and isinstance(group, dict) else value
    return changed


def outcomes_of_base(directory: Path) -> Outcomes:
    """Of the student before training; empty while that isn't measured."""
    return outcomes_of(directory / BASE, 0) if (directory / BASE / runs.DATABASE).is_file() else {}
