"""Methods side by side: the same tasks, the same student, several seeds; a run each, and what sets them apart.

Arm           one method with one seed: a recipe, the run that is made of it, and what that came to
Comparison    all arms, in the order in which they run; repeated, it goes on where it was stopped
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollin.errors import UserError
from rollin.evaluation.paired import Outcomes
from rollin.evaluation.result import Result
from rollin.explaining import nearest
from rollin.layers import on_top
from rollin.method import METHODS
from rollin.progress import Reporter
from rollin.recipe import Budget, EvaluationSettings, LocalTeacher, Recipe, parse_recipe, placeless
from rollin.store import DATABASE, Store

MATCHED = "sft-matched"
"""The control: SFT with as many labels as DAgger had. More teacher data, and no mixing."""
MATCHED_TO = "dagger"
MATCHES = {"tasks_per_iteration", "budget"}
"""What the control takes from DAgger's run."""
SPARE = 1.5
"""Tasks that the control collects for each of DAgger's trajectories: the teacher alone takes fewer turns, so it needs
more."""
BASE = "base"
"""The student before training, measured once for all arms."""
RESULTS = "results"
"""Where in a comparison's directory each arm leaves what it came to. Put there from elsewhere, it counts as done."""


@dataclass(frozen=True)
class Arm:
    """One method with one seed."""

    name: str
    seed: int
    recipe: Recipe
    directory: Path
    """Its run's."""
    file: Path
    """What it came to, once it is done. Where this is there, the run isn't needed."""

    @property
    def title(self) -> str:
        return f"{self.name}, seed {self.seed}"

    @property
    def begun(self) -> bool:
        """Whether its run is here."""
        return (self.directory / DATABASE).is_file()

    def result(self) -> Result | None:
        """What it came to, or has come to so far; None where it isn't begun."""
        if self.file.is_file():
            return Result.read(self.file)
        return self._so_far() if self.begun else None

    @property
    def done(self) -> bool:
        """Whether its run has come to its end."""
        result = self.result()
        return result is not None and result.done

    def outcomes(self) -> Outcomes:
        """Of its last evaluation: (seed, task) -> resolved."""
        result = self.result()
        return {(self.seed, task): resolved for task, resolved in result.outcomes.items()} if result else {}

    def keep(self, drift: int) -> None:
        """Write down what it came to, with the student's drift from a local teacher on so many trajectories, if that
        is to be measured and its run is here."""
        result = self.result()
        if result is None or not self.begun or (self.file.is_file() and (result.drifts or not drift)):
            return
        if drift and isinstance(self.recipe.teacher, LocalTeacher):
            from rollin.evaluation.drift import drifts  # with torch

            with Store.read(self.directory / DATABASE) as store:
                found = drifts(store, self.directory, self.recipe.teacher.model, drift)
            result = result.model_copy(update={"drifts": found})
        result.write(self.file)

    def _so_far(self) -> Result:
        with Store.read(self.directory / DATABASE) as store:
            return Result.of(store)


@dataclass(frozen=True)
class Comparison:
    """All arms of a comparison."""

    recipe: Recipe
    methods: Sequence[str]
    seeds: Sequence[int]
    directory: Path
    drift: int = 0
    """Trajectories of each evaluation on which the student's drift from a local teacher is measured."""

    def __post_init__(self) -> None:
        known = [*METHODS, MATCHED]
        for name in (*self.methods, *self.recipe.arms):
            if name not in known:
                raise UserError(f"{name!r} is no method{nearest(name, known)}")
        if MATCHED in self.methods and MATCHED_TO not in self.methods:
            raise UserError(f"{MATCHED} has as many labels as {MATCHED_TO} had; add {MATCHED_TO} to --methods")
        if taken := MATCHES & self.recipe.arms.get(MATCHED, {}).keys():
            raise UserError(
                f"arms.{MATCHED}: {', '.join(sorted(taken))} is {MATCHED_TO}'s, to be matched; leave it out"
            )
        if self.drift and not isinstance(self.recipe.teacher, LocalTeacher):
            raise UserError("--drift needs a teacher of kind local: no other gives its log-probabilities")
        self.arms()  # what is wrong with an arm is said before the first one runs

    def arms(self) -> list[Arm]:
        """Seed by seed, so that a comparison that is stopped has all methods of the seeds that are done; what is
        matched comes last."""
        names = sorted(self.methods, key=lambda name: (name == MATCHED, self.methods.index(name)))
        return [self._arm(name, seed) for seed in self.seeds for name in names]

    def arm(self, name: str, seed: int) -> Arm:
        return next(arm for arm in self.arms() if (arm.name, arm.seed) == (name, seed))

    @property
    def base(self) -> Arm:
        """The student before training: no method, and the same for all seeds."""
        return self._placed(BASE, 0, self.recipe)

    def run(self, reporter: Reporter) -> None:
        """Bring every arm to its end. Raises whatever stops a run; run again, it goes on. UserError where an arm was
        begun with other settings: two recipes in one table would be no comparison."""
        from rollin import runs  # here, with torch: what is wrong with a comparison is said before that is loaded

        for arm in (self.base, *self.arms()):
            result = arm.result()
            if result and not _is_of(arm, result):
                raise UserError(f"{arm.directory} was begun with other settings; choose another directory with --out")
        if not self.base.outcomes():
            reporter.say("the student before training")
            runs.evaluate(self.recipe, self.base.directory, reporter)
        self.base.keep(self.drift)
        arms = self.arms()
        for number, arm in enumerate(arms, 1):
            if not arm.done:
                reporter.say(f"{number} of {len(arms)}: {arm.title}{_left(arms)}")
                if arm.begun:
                    runs.resume(arm.directory, reporter)
                else:
                    runs.start(self._matched(arm), arm.directory, reporter)
            arm.keep(self.drift)
            if arm.name == MATCHED:
                self._tell_shortfall(arm, reporter)

    def _tell_shortfall(self, arm: Arm, reporter: Reporter) -> None:
        """Where the control's tasks gave fewer labels than it was to match."""
        found, wanted = arm.result(), self.arm(MATCHED_TO, arm.seed).result()
        if found and wanted and found.labels < wanted.labels:
            reporter.say(f"{arm.title}: its tasks gave {found.labels} labels; {MATCHED_TO} had {wanted.labels}")

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
        recipe = parse_recipe(on_top(self.recipe.arms.get(name, {}), common) | of_comparison, f"the arm {name}")
        return self._placed(name, seed, recipe)

    def _placed(self, name: str, seed: int, recipe: Recipe) -> Arm:
        place = BASE if name == BASE else f"{name}-{seed}"
        return Arm(name, seed, recipe, self.directory / place, self.directory / RESULTS / f"{place}.json")

    def _matched(self, arm: Arm) -> Recipe:
        """An arm's recipe; the control's once it is known what it has to match."""
        if arm.name != MATCHED:
            return arm.recipe
        model = self.arm(MATCHED_TO, arm.seed)
        spare = SPARE * model.recipe.method.attempts
        sizes = [math.ceil(spare * model.recipe.tasks_in(i)) for i in range(1, model.recipe.iterations + 1)]
        matched = model.result()
        if matched and not matched.labels:
            raise UserError(f"{model.title} learnt from no label, so nothing can match it; leave {MATCHED} out")
        budget = Budget(labels=matched.labels if matched else None)
        return arm.recipe.model_copy(update={"tasks_per_iteration": sizes, "budget": budget})


def _is_of(arm: Arm, result: Result) -> bool:
    """Whether a run was made of the arm's recipe, but for what the control takes from another arm. Before training only
    the student, its tasks and where it works on them make a difference."""
    free = MATCHES if arm.name == MATCHED else set[str]()
    only = {"student", "tasks", "harness", "sandbox"} if arm.name == BASE else None
    begun = parse_recipe(result.recipe, f"the recipe of {arm.title}")  # settings that came since have their defaults
    return placeless(begun, only, free) == placeless(arm.recipe, only, free)


def _left(arms: Sequence[Arm]) -> str:
    """An estimate from the arms that are done; empty where none is."""
    known = [result.seconds for arm in arms if (result := arm.result()) and result.done]
    left = len(arms) - len(known)
    return f"; about {sum(known) / len(known) * left / 60:.0f} minutes left" if known else ""
