"""What each arm of a comparison cost, how it learnt, and how its student failed.

Facts    one arm's numbers, from its store
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rollin import runs
from rollin.comparison import Arm
from rollin.evaluation.failures import FailureMode, failures
from rollin.evaluation.rate import Rate
from rollin.report.measures import STUDENT
from rollin.report.tables import Table
from rollin.store import Purpose, Store


@dataclass(frozen=True)
class Facts:
    """One arm's numbers."""

    name: str
    title: str
    state: str
    turns: int = 0
    """Collected in the environment."""
    teacher_tokens: int = 0
    """That the teacher wrote, acting and labelling."""
    trained_tokens: int = 0
    """That went through the student in training, of all epochs."""
    seconds: float = 0.0
    curve: Sequence[tuple[int, Rate]] = ()
    """At each of its evaluations: (labels that it had trained on, the rate)."""
    failures: Mapping[FailureMode, int] = field(default_factory=dict)
    """Of its last evaluation."""

    @classmethod
    def of(cls, arm: Arm) -> "Facts":
        if not arm.begun:
            return cls(arm.name, arm.title, "not begun")
        with Store.read(arm.directory / runs.DATABASE) as store:
            spent = store.spent(row.id for row in store.trajectories(purpose=Purpose.COLLECT))
            iterations = {row.number: row for row in store.iterations()}
            measured = [(each.iteration, Rate(each.resolved, each.n, each.faults)) for each in store.evaluations()
                        if each.policy == STUDENT]  # fmt: skip
            last = store.trajectories(iteration=measured[-1][0], purpose=Purpose.EVAL) if measured else []
        packed = sum(row.trained("packed_tokens") for row in iterations.values())
        return cls(
            arm.name,
            arm.title,
            "done" if arm.done else "under way",
            spent.turns,
            spent.teacher_tokens,
            int(packed * arm.recipe.training.epochs),
            arm.seconds,
            [(iterations[number].trained("labels"), rate) for number, rate in measured],
            failures(last),
        )

    @property
    def labels(self) -> int:
        """That its last evaluated student trained on."""
        return self.curve[-1][0] if self.curve else 0


def costs(arms: Sequence[Facts], before: Rate | None) -> Table:
    """What each arm cost, in all and for a point of resolve rate."""
    rows = []
    for arm in arms:
        cells = [f"{count:,}" for count in (arm.turns, arm.labels, arm.teacher_tokens, arm.trained_tokens)]
        price = _price(arm, before)
        done = [f"{arm.seconds:,.0f}" if arm.seconds else "-", f"{price:,.0f}" if price is not None else "-"]
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
    if not arm.curve or before is None or arm.state != "done":
        return None
    gained = 100 * (arm.curve[-1][1].value - before.value)
    return arm.teacher_tokens / gained if gained > 0 else None


def failing(arms: Sequence[Facts]) -> Table:
    """How the students of each method failed, over all seeds."""
    counted: dict[str, Counter[FailureMode]] = {}
    for arm in arms:
        counted.setdefault(arm.name, Counter()).update(arm.failures)
    rows = [[mode.value, *(str(counts[mode]) for counts in counted.values())] for mode in FailureMode]
    return Table(
        "Why held-out tasks were not resolved", ["reason", *counted], rows, "Of all seeds; docs/store.md defines each."
    )


def scaling(arms: Sequence[Facts]) -> Table:
    """Resolve rate against the number of labels, evaluation by evaluation."""
    rows = [[arm.title, f"{labels:,}", str(rate)] for arm in arms for labels, rate in arm.curve]
    return Table("Resolve rate by labels", ["run", "labels", "resolved"], rows)
