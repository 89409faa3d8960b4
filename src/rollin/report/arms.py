"""What each arm of a comparison cost, how it learnt, and how its student failed.

Facts    one arm, and what it came to
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rollin.evaluation.failures import FailureMode
from rollin.evaluation.rate import Rate
from rollin.evaluation.result import Result
from rollin.report.tables import Table


@dataclass(frozen=True)
class Facts:
    """One arm, and what it came to so far."""

    name: str
    title: str
    result: Result | None

    @property
    def state(self) -> str:
        if self.result is None:
            return "not begun"
        return "done" if self.result.done else "under way"

    @property
    def curve(self) -> Sequence[tuple[int, Rate]]:
        """At each of its evaluations: (labels that it had trained on, the rate)."""
        return self.result.curve if self.result else ()


def costs(arms: Sequence[Facts], before: Rate | None) -> Table:
    """What each arm cost, in all and for a point of resolve rate."""
    rows = []
    for arm in arms:
        if arm.result is None:
            rows.append([arm.title, arm.state, *"------"])
            continue
        found, price = arm.result, _price(arm, before)
        cells = [f"{count:,}" for count in (found.turns, found.labels, found.teacher_tokens, found.trained_tokens)]
        done = [f"{found.seconds:,.0f}" if found.seconds else "-", f"{price:,.0f}" if price is not None else "-"]
        rows.append([arm.title, arm.state, *cells, *done])
    heads = [
        "run",
        "state",
        "turns",
        "labels",
        "teacher tokens",
        "training tokens",
        "seconds",
        "teacher tokens a point",
    ]
    note = (
        "Labels: of the last iteration's training. Teacher tokens: that it wrote, acting and labelling. A point is one"
        " percent of the held-out tasks, above the student before training."
    )
    return Table("What it cost", heads, rows, note)


def _price(arm: Facts, before: Rate | None) -> float | None:
    """The teacher's tokens for one point; None where no point was gained, or it isn't known."""
    if arm.result is None or not arm.result.done or not arm.curve or before is None:
        return None
    gained = 100 * (arm.curve[-1][1].value - before.value)
    return arm.result.teacher_tokens / gained if gained > 0 else None


def failing(arms: Sequence[Facts]) -> Table:
    """How the students of each method failed, over all seeds."""
    counted: dict[str, Counter[FailureMode]] = {}
    for arm in arms:
        counted.setdefault(arm.name, Counter()).update(arm.result.failures if arm.result else {})
    rows = [[mode.value, *(str(counts[mode]) for counts in counted.values())] for mode in FailureMode]
    return Table(
        "Why held-out tasks were not resolved", ["reason", *counted], rows, "Of all seeds; docs/store.md defines each."
    )


def scaling(arms: Sequence[Facts]) -> Table:
    """Resolve rate against the number of labels, evaluation by evaluation."""
    rows = [[arm.title, f"{labels:,}", str(rate)] for arm in arms for labels, rate in arm.curve]
    return Table("Resolve rate by labels", ["run", "labels", "resolved"], rows)


def drifting(arms: Sequence[Facts]) -> Table:
    """How far the students are from the teacher in the states that they reach alone, where that was measured."""
    rows = [
        [
            arm.title,
            f"{labels:,}",
            f"{drift.value:.4f}",
            f"{drift.low:.4f} to {drift.high:.4f}",
            str(drift.trajectories),
            f"{drift.tokens:,}",
        ]
        for arm in arms
        if arm.result
        for (labels, _), drift in zip(arm.result.curve, arm.result.drifts, strict=False)
    ]
    heads = ["run", "labels", "reverse KL", "95% interval", "trajectories", "tokens"]
    note = (
        "KL(student || teacher) in nats, the mean over the tokens that the student said alone on held-out tasks, with"
        " a bootstrap interval over trajectories."
    )
    return Table("Covariate shift", heads, rows, note)
