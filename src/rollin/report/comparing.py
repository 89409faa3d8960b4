"""A comparison in tables and one picture: how often each method's student resolves a task, and what sets them apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rollin.comparison import BASE, Comparison
from rollin.errors import UserError
from rollin.evaluation.paired import Outcomes, difference
from rollin.evaluation.rate import Rate, wilson
from rollin.files import write_text
from rollin.report.arms import Facts, costs, drifting, failing, scaling
from rollin.report.page import page
from rollin.report.plot import COLOURS, DPI, FAINT, INK, PAPER, SIZE, frame, literal, save
from rollin.report.tables import Table
from rollin.tasks.schema import Family

APART = Family.SEMANTIC.value
"""The family that is reported by itself: the hard one."""


@dataclass(frozen=True)
class Findings:
    """What a comparison has found so far."""

    outcomes: Mapping[str, Outcomes]
    """By method, and BASE for the student before training."""
    of_group: Mapping[str, str]
    """Held-out task -> `<source> <family>`."""
    arms: Sequence[Facts]
    """The student before training first, if that is measured."""

    @classmethod
    def of(cls, comparison: Comparison) -> "Findings":
        outcomes = {BASE: comparison.base.outcomes()}
        outcomes |= {name: comparison.outcomes(name) for name in comparison.methods}
        before = comparison.base.result()
        arms = [Facts(arm.name, arm.title, arm.result()) for arm in comparison.arms()]
        return cls(
            {name: found for name, found in outcomes.items() if found},
            before.groups if before else {},
            [Facts(BASE, "before training", before), *arms] if before else arms,
        )

    def groups(self) -> dict[str, set[str]]:
        """Name -> tasks: all but the hard family first, then each source's families."""
        groups: dict[str, set[str]] = {}
        for task, group in self.of_group.items():
            if APART not in group:
                groups.setdefault(f"all but {APART}", set()).add(task)
        for task, group in sorted(self.of_group.items(), key=lambda item: item[1]):
            groups.setdefault(group, set()).add(task)
        return groups

    def rates(self) -> Table:
        """Resolve rates: each method's, over tasks and seeds."""
        rows = []
        for name, found in self.outcomes.items():
            cells = [_rate(_among(found, tasks)) for tasks in self.groups().values()]
            rows.append([name, str(len({seed for seed, _ in found})), *cells])
        return Table(
            "Resolve rate on held-out tasks",
            ["method", "seeds", *self.groups()],
            rows,
            "Over all seeds, with Wilson's 95% interval for so many tasks. The infrastructure's faults don't count.",
        )

    def differences(self, reference: str) -> Table:
        """The reference minus each of the others, on the same tasks and seeds."""
        first, groups = self.outcomes.get(reference, {}), self.groups()
        rows = []
        for name in self.outcomes.keys() - {reference}:
            second = self._for_all(first, name)
            cells = (_ahead(_among(first, tasks), _among(second, tasks)) for tasks in groups.values())
            rows.append([f"{reference} - {name}", *cells])
        note = "Paired: the same tasks and seeds, with a 95% bootstrap interval over both."
        return Table(f"What {reference} is ahead, in points", ["difference", *groups], sorted(rows), note)

    def _for_all(self, first: Outcomes, name: str) -> Outcomes:
        """A method's outcomes; those before training, which no seed changes, for every seed of `first`."""
        if name != BASE:
            return self.outcomes[name]
        before = {task: resolved for (_, task), resolved in self.outcomes[BASE].items()}
        return {(seed, task): before[task] for seed, task in first if task in before}

    def tables(self, reference: str) -> list[Table]:
        """All that was found, as far as it is there."""
        found = self.outcomes.get(BASE, {})
        before = Rate(sum(map(bool, found.values())), len(found)) if found else None
        cost = costs([arm for arm in self.arms if arm.name != BASE], before)
        if not self.outcomes:
            return [cost]
        of_arms = [failing(self.arms), drifting(self.arms), scaling(self.arms), cost]
        return [table for table in (self.rates(), self.differences(reference), *of_arms) if table.rows]

    def page(self, title: str, reference: str, picture: Path, path: Path) -> Path:
        """Tables and picture as one HTML file, which is returned."""
        write_text(path, page(title, self.tables(reference), [picture]), "the page")
        return path

    def draw(self, path: Path) -> Path:
        """Resolve rates, a bar a method, and against the number of labels; as a PNG at `path`, which is returned."""
        figure = Figure(figsize=SIZE, dpi=DPI, facecolor=PAPER, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(1, 2, width_ratios=(3, 2))
        self._bars(figure.add_subplot(grid[0, 0]))
        self._by_labels(figure.add_subplot(grid[0, 1]))
        save(figure, path)
        return path

    def _bars(self, axes: Axes) -> None:
        """Each group's resolve rates beside each other, a bar a method."""
        frame(axes, "resolve rate on held-out tasks (95% intervals)")
        axes.set_ylim(0, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        groups, width = self.groups(), 0.8 / len(self.outcomes)
        for number, (name, found) in enumerate(self.outcomes.items()):
            rates = [_interval(_among(found, tasks)) for tasks in groups.values()]
            places = [place + (number - (len(self.outcomes) - 1) / 2) * width for place in range(len(groups))]
            axes.bar(places, [value for value, _, _ in rates], width * 0.9, color=self._colour(name), label=name)
            below, above = ([abs(value - end[side]) for value, *end in rates] for side in (0, 1))
            heights = [value for value, _, _ in rates]
            axes.errorbar(places, heights, [below, above], fmt="none", ecolor=INK, capsize=2, linewidth=0.8)
        axes.set_xticks(range(len(groups)), [literal(group) for group in groups], fontsize=8)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=8, frameon=False, fontsize=8)

    def _by_labels(self, axes: Axes) -> None:
        """A point for each evaluation of each run."""
        frame(axes, "by labels that were trained on")
        axes.set_ylim(0, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for arm in self.arms:
            labels, rates = [labels for labels, _ in arm.curve], [rate.value for _, rate in arm.curve]
            axes.plot(labels, rates, "o-", color=self._colour(arm.name), markersize=4, linewidth=1)

    def _colour(self, name: str) -> str:
        methods = [*dict.fromkeys(arm.name for arm in self.arms if arm.name != BASE)]
        return FAINT if name == BASE else COLOURS[methods.index(name) % len(COLOURS)]

    def write(self, path: Path) -> Path:
        """Every outcome as a row of a Parquet file, which is returned. UserError if it can't be written."""
        rows = [
            {"method": name, "seed": seed, "instance_id": task, "resolved": resolved}
            for name, found in self.outcomes.items()
            for (seed, task), resolved in sorted(found.items())
        ]
        try:
            pq.write_table(pa.Table.from_pylist(rows), path)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot write the outcomes {path} ({reason}); make room, or a place for it") from error
        return path


def _among(outcomes: Outcomes, tasks: set[str]) -> Outcomes:
    return {pair: resolved for pair, resolved in outcomes.items() if pair[1] in tasks}


def _rate(outcomes: Outcomes) -> str:
    value, low, high = _interval(outcomes)
    return f"{100 * value:.1f}% ({100 * low:.0f}-{100 * high:.0f}%)" if outcomes else "-"


def _interval(outcomes: Outcomes) -> tuple[float, float, float]:
    """(resolve rate over all seeds, and the ends of Wilson's interval for as many tasks as there are)."""
    value = sum(outcomes.values()) / max(1, len(outcomes))
    return value, *wilson(value, len({task for _, task in outcomes}))


def _ahead(first: Outcomes, second: Outcomes) -> str:
    if not first.keys() & second.keys():
        return "-"
    return str(difference(first, second))
