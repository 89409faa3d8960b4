"""The methods as one table: where states come from, where labels come from, how a label becomes a loss.

This is the paper's "unified lens" (arXiv 2605.12913, section 3). A method is a row; the loop and the trainer know none
by name. GRPO and OPD need labels and objectives beyond these and will be further rows, not further code paths.
"""

from dataclasses import dataclass
from typing import Literal

from rollin.mixture import AnyRollIn, Linear, PrefixSwitch, Teacher, TurnMixture


@dataclass(frozen=True)
class Method:
    """A row of the table."""

    roll_in: AnyRollIn
    label: Literal["teacher"] = "teacher"
    """The teacher's action at each visited state; where the teacher acted, the executed action."""
    objective: Literal["cross_entropy"] = "cross_entropy"


METHODS = {
    "sft": Method(Teacher()),
    "dagger": Method(TurnMixture(beta=Linear(start=1.0, step=0.2, floor=0.6))),
    # The paper does not give T_max(i): 2, 4, 6 ... turns are ours.
    "aggrevate": Method(PrefixSwitch(t_max=Linear(start=2, step=-2))),
}
