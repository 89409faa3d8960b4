"""Resolve rates: how many tasks were resolved, of how many that count, and how sure that is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from rollin.store import Exit, TrajectoryRow
from rollin.tasks.schema import Task

Z95 = 1.959964
"""The normal distribution's two-sided 95% quantile."""


@dataclass(frozen=True)
class Rate:
    """`resolved` of `n`; the infrastructure's `faults` are in neither."""

    resolved: int
    n: int
    faults: int = 0

    def __post_init__(self) -> None:
        """ValueError for what is no rate."""
        if not 0 <= self.resolved <= self.n or self.faults < 0:
            raise ValueError(f"{self.resolved} resolved of {self.n}, with {self.faults} faults, is no rate")

    @classmethod
    def of(cls, rows: Iterable[TrajectoryRow]) -> "Rate":
        """Of trajectories that have ended."""
        rows = list(rows)
        counted = [row for row in rows if row.exit is not Exit.INFRASTRUCTURE_FAULT and row.resolved is not None]
        return cls(sum(bool(row.resolved) for row in counted), len(counted), len(rows) - len(counted))

    @property
    def value(self) -> float:
        """In [0, 1]; 0 where nothing counts."""
        return self.resolved / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval."""
        return wilson(self.value, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        faults = f", {self.faults} faults" if self.faults else ""
        counts = f"{self.resolved}/{self.n}{faults}"
        return f"{100 * self.value:.1f}% ({counts}; 95% interval {100 * low:.0f}-{100 * high:.0f}%)"


def wilson(value: float, n: int) -> tuple[float, float]:
    """The 95% interval of a rate: right for small n and for rates near 0 and 1 too (Wilson, 1927)."""
    if not n:
        return 0.0, 1.0
    z = Z95
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def by_group(rows: Iterable[TrajectoryRow], tasks: Mapping[str, Task]) -> dict[str, Rate]:
    """`<source> <family>` -> its rate, in alphabetical order."""
    groups: dict[str, list[TrajectoryRow]] = {}
    for row in rows:
        groups.setdefault(group_of(tasks[row.instance_id]), []).append(row)
    return {name: Rate.of(groups[name]) for name in sorted(groups)}


def group_of(task: Task) -> str:
    """`<source> <family>`: what is reported apart."""
    return f"{task.source} {task.family.value}"


def first_of_each_group(tasks: Sequence[Task], count: int) -> list[Task]:
    """At most `count` of each group, in their order."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(group_of(task), []).append(task)
    first = {task.instance_id for group in groups.values() for task in group[:count]}
    return [task for task in tasks if task.instance_id in first]
