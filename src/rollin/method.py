"""The methods as one table: where states come from, where labels come from, how a label becomes a loss.

This is the paper's "unified lens" (arXiv 2605.12913, section 3). A method is a row; the loop and the trainer know none
by name, and a recipe may name a row and change any of its fields.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator

from rollin.mixture import Actor, AnyRollIn, Linear, PrefixSwitch, Student, Teacher, TurnMixture
from rollin.training.objectives import AnyObjective, CrossEntropy, Need, PolicyGradient, ReverseKL

Share = Annotated[float, Field(gt=0, le=1)]


class Aggregate(BaseModel):
    """Which iterations' labels are trained on, and how much they count. Short: `all`, or `last` for `{iterations: 1}`.

    Lists go by age: the first number is for this iteration, the next for the one before; the last one repeats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int | None = Field(default=None, ge=1)
    """Those of the last so many iterations; of all if left out, which is DAgger's data set."""
    weights: list[PositiveFloat] = Field(default=[1.0], min_length=1)
    """What a label counts in the loss."""
    shares: list[Share] = Field(default=[1.0], min_length=1)
    """How many of an iteration's trajectories are trained on, drawn anew each time: what is learnt already is kept with
    few of them."""

    def of(self, iteration: int) -> range:
        """The iterations that are trained on in this one."""
        first = 1 if self.iterations is None else max(1, iteration + 1 - self.iterations)
        return range(first, iteration + 1)

    def __str__(self) -> str:
        back = "all" if self.iterations is None else f"the last {self.iterations}"
        return back if self.shares == [1.0] else f"{back}, shares {', '.join(f'{share:g}' for share in self.shares)}"

    def weight(self, age: int) -> float:
        """Of a label that is so many iterations old."""
        return self.weights[min(age, len(self.weights) - 1)]

    def share(self, age: int) -> float:
        """Of the trajectories that are so many iterations old."""
        return self.shares[min(age, len(self.shares) - 1)]


LAST = Aggregate(iterations=1)
_SHORT = {"all": Aggregate(), "last": LAST}


class Method(BaseModel):
    """A row of the table. In a recipe, what is left out is as in the row that `name` names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Its name in the table: `sft`, `grpo`, `opd`, `dagger`, `aggrevate`, `tcod-forward`, `tcod-backward` or
    `sage-opd`."""
    roll_in: AnyRollIn
    """Who acts: where states come from."""
    label: Literal["teacher", "executed"] = "teacher"
    """The teacher's action at each visited state, or whatever was executed there."""
    objective: AnyObjective = CrossEntropy()
    """How a label becomes a loss."""
    turns: Literal["all", "student", "corrected"] = "all"
    """Which turns are learnt from: all, those at which the student acted, or of these the ones that the teacher, having
    seen what came of them, would not leave alone."""
    keep: Literal["all", "resolved"] = "all"
    """Which trajectories are learnt from. Only those that resolved their task: rejection sampling."""
    aggregate: Aggregate = Aggregate()
    """Train on the labels of all iterations so far, or of the last ones alone."""
    attempts: int = Field(default=1, ge=1)
    """Trajectories of each task in an iteration."""

    @field_validator("aggregate", mode="before")
    @classmethod
    def _in_full(cls, aggregate: object) -> object:
        if isinstance(aggregate, str) and aggregate not in _SHORT:
            raise ValueError(f"{aggregate!r} is neither 'all' nor 'last'; or write {{iterations: 3, shares: [1, 0.5]}}")
        return _SHORT[aggregate] if isinstance(aggregate, str) else aggregate

    @property
    def selective(self) -> bool:
        """Whether it may find nothing to learn in an iteration whose trajectories and labels are all there."""
        of_student = self.turns != "all" or Need.BEHAVIOUR in self.objective.needs
        return of_student or self.keep == "resolved"


_ROWS = (
    Method(name="sft", roll_in=Teacher(), keep="resolved"),
    Method(
        name="grpo",
        roll_in=Student(),
        label="executed",
        objective=PolicyGradient(),
        aggregate=LAST,
        attempts=8,
    ),
    Method(name="opd", roll_in=Student(), label="executed", objective=ReverseKL(), aggregate=LAST),
    Method(name="dagger", roll_in=TurnMixture(beta=Linear(start=1.0, step=0.2, floor=0.6))),
    # The paper does not give T_max(i): 2, 4, 6 ... turns are ours.
    Method(name="aggrevate", roll_in=PrefixSwitch(t_max=Linear(start=2, step=-2))),
    # Temporal curricula for on-policy distillation (TCOD, arXiv 2604.24005); the schedules are ours.
    Method(
        name="tcod-forward",
        roll_in=PrefixSwitch(t_max=Linear(start=2, step=-2), kappa="t_max"),
        label="executed",
        turns="student",
        objective=ReverseKL(),
        aggregate=LAST,
    ),
    Method(
        name="tcod-backward",
        roll_in=PrefixSwitch(t_max=Linear(start=8, step=2), kappa="t_max", first=Actor.TEACHER),
        label="executed",
        turns="student",
        objective=ReverseKL(),
        aggregate=LAST,
    ),
    # Turns that what came of them shows to be sound are left alone (SAGE-OPD, arXiv 2606.19659).
    Method(
        name="sage-opd",
        roll_in=Student(),
        label="executed",
        turns="corrected",
        objective=ReverseKL(),
        aggregate=LAST,
    ),
)
METHODS = {row.name: row for row in _ROWS}
