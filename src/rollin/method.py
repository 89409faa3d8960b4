"""The methods as one table: where states come from, where labels come from, how a label becomes a loss.

This is the paper's "unified lens" (arXiv 2605.12913, section 3). A method is a row; the loop and the trainer know none
by name, and a recipe may name a row and change any of its fields.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rollin.mixture import Actor, AnyRollIn, Linear, PrefixSwitch, Student, Teacher, TurnMixture
from rollin.training.objectives import AnyObjective, CrossEntropy, Need, PolicyGradient, ReverseKL


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
    aggregate: Literal["all", "last"] = "all"
    """Train on the labels of all iterations so far (DAgger's data set), or on the last iteration's alone."""
    attempts: int = Field(default=1, ge=1)
    """Trajectories of each task in an iteration."""

    @property
    def selective(self) -> bool:
        """Whether it may find nothing to learn in an iteration whose trajectories and labels are all there."""
        return self.keep == "resolved" or self.turns != "all" or Need.OUTCOMES in self.objective.needs


_ROWS = (
    Method(name="sft", roll_in=Teacher(), keep="resolved"),
    Method(
        name="grpo",
        roll_in=Student(),
        label="executed",
        objective=PolicyGradient(),
        aggregate="last",
        attempts=8,
    ),
    Method(name="opd", roll_in=Student(), label="executed", objective=ReverseKL(), aggregate="last"),
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
        aggregate="last",
    ),
    Method(
        name="tcod-backward",
        roll_in=PrefixSwitch(t_max=Linear(start=8, step=2), kappa="t_max", first=Actor.TEACHER),
        label="executed",
        turns="student",
        objective=ReverseKL(),
        aggregate="last",
    ),
    # Turns that what came of them shows to be sound are left alone (SAGE-OPD, arXiv 2606.19659).
    Method(
        name="sage-opd",
        roll_in=Student(),
        label="executed",
        turns="corrected",
        objective=ReverseKL(),
        aggregate="last",
    ),
)
METHODS = {row.name: row for row in _ROWS}
