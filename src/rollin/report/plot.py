"""A run in one picture: resolve rates with their intervals, and how training went."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from rollin.errors import UserError
from rollin.evaluation.rate import Rate
from rollin.report.measures import Evaluation, Iteration
from rollin.report.summary import Summary
from rollin.store import STUDENT, Store

SIZE, DPI = (9.0, 3.8), 160
"""Inches, and pixels in one."""
PAPER, INK, FAINT = "#ffffff", "#24292f", "#d0d7de"
"""Opaque, so that it reads the same on a light page and on a dark one."""
COLOURS = ("#0969da", "#bf8700", "#1a7f37", "#8250df", "#cf222e", "#57606a")
OVERALL = "overall"


def plot(store: Store, path: Path) -> Path:
    """Draw a run at any stage as a PNG of 1440 x 608 pixels at `path`, which is returned. UserError if it can't be."""
    summary = Summary.of(store)
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(3, 2))
    _rates(figure.add_subplot(grid[:, 0]), [e for e in summary.evaluations if e.policy == STUDENT])
    loss, agreement = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    _loss(loss, summary.iterations)
    _agreement(agreement, summary.iterations)
    figure.suptitle(literal(summary.name), color=INK, fontsize=11, fontweight="bold")
    save(figure, path)
    return path


def save(figure: Figure, path: Path) -> None:
    """As a PNG. UserError if it can't be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", facecolor=PAPER)
    except OSError as error:
        raise UserError(
            f"cannot write the plot {path}: {error.strerror or error}; make room or check the path"
        ) from error


def literal(text: str) -> str:
    """Text that matplotlib doesn't take for a formula."""
    return text.replace("$", r"\$")


def _rates(axes: Axes, evaluations: Sequence[Evaluation]) -> None:
    """Bars of before and after; lines over iterations where there is more to see than that."""
    frame(axes, "resolve rate on held-out tasks (95% intervals)")
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if not evaluations:
        _nothing(axes, "not evaluated yet")
    elif len(evaluations) <= 2:
        _bars(axes, evaluations)
    else:
        _lines(axes, evaluations)


def _bars(axes: Axes, evaluations: Sequence[Evaluation]) -> None:
    groups = _groups(evaluations)
    width = 0.7 / len(evaluations)
    for number, evaluation in enumerate(evaluations):
        rates = [_of(evaluation, group) for group in groups]
        places = [place + (number - (len(evaluations) - 1) / 2) * width for place in range(len(groups))]
        colour = COLOURS[5] if evaluation.iteration == 0 else COLOURS[0]
        axes.bar(places, [r.value for r in rates], width * 0.9, color=colour, alpha=0.85, label=evaluation.title)
        _whiskers(axes, places, rates, INK)
        for place, rate in zip(places, rates, strict=True):
            counted = f"{rate.resolved}/{rate.n}" if rate.n else "-"
            axes.text(place, 0.02, counted, ha="center", fontsize=7, color=INK, bbox=_LABEL)
    axes.set_xticks(range(len(groups)), [literal(group) for group in groups], fontsize=8)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    _legend(axes)


def _lines(axes: Axes, evaluations: Sequence[Evaluation]) -> None:
    groups = _groups(evaluations)
    for number, group in enumerate(groups):
        known = [e for e in evaluations if _of(e, group).n]
        # Beside each other, or the whiskers of two groups would hide one another.
        places = [e.iteration + 0.06 * (number - (len(groups) - 1) / 2) for e in known]
        rates, colour = [_of(e, group) for e in known], COLOURS[number % len(COLOURS)]
        axes.plot(places, [rate.value for rate in rates], marker="o", markersize=4, color=colour, label=literal(group))
        _whiskers(axes, places, rates, colour)
    _whole_numbers(axes, [evaluation.iteration for evaluation in evaluations])
    axes.set_xlabel("iteration (0: before training)", fontsize=8, color=INK)
    _legend(axes)


def _loss(axes: Axes, iterations: Sequence[Iteration]) -> None:
    frame(axes, "training loss (nats a label token)")
    known = [(i.number, i.training.loss) for i in iterations if i.training.loss is not None]
    series(axes, known, COLOURS[0], "not trained yet")
    _whole_numbers(axes, [i.number for i in iterations])


def _agreement(axes: Axes, iterations: Sequence[Iteration]) -> None:
    frame(axes, "student's action is the teacher's")
    known = [(i.number, i.tally.agreement) for i in iterations if i.tally.agreement is not None]
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    series(axes, known, COLOURS[1], "the student has not acted yet")
    _whole_numbers(axes, [i.number for i in iterations])
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("iteration", fontsize=8, color=INK)


def series(axes: Axes, points: Sequence[tuple[int, float]], colour: str, otherwise: str) -> None:
    """A line through points of which 0 is the usual bottom; where there is none, a sentence instead."""
    if not points:
        _nothing(axes, otherwise)
        return
    axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=4, color=colour)
    highest, lowest = (choose(0.0, *(y for _, y in points)) for choose in (max, min))
    axes.set_ylim(1.15 * lowest, 1.15 * highest or float(not lowest))


_LABEL = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 1.0}


def _whiskers(axes: Axes, places: Sequence[float], rates: Sequence[Rate], colour: str) -> None:
    """Only where something was measured: the interval of nothing is everything."""
    known = [(place, rate) for place, rate in zip(places, rates, strict=True) if rate.n]
    below = [max(0.0, rate.value - rate.interval[0]) for _, rate in known]
    above = [max(0.0, rate.interval[1] - rate.value) for _, rate in known]
    values = [rate.value for _, rate in known]
    axes.errorbar([p for p, _ in known], values, [below, above], fmt="none", ecolor=colour, capsize=3, linewidth=1)


def _groups(evaluations: Sequence[Evaluation]) -> list[str]:
    """The groups, and `overall` where that is something else."""
    groups = sorted({name for evaluation in evaluations for name in evaluation.groups})
    return groups if len(groups) == 1 else [*groups, OVERALL]


def _of(evaluation: Evaluation, group: str) -> Rate:
    return evaluation.overall if group == OVERALL else evaluation.groups.get(group, Rate(0, 0))


def frame(axes: Axes, title: str) -> None:
    """The look that all plots share."""
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.set_facecolor(PAPER)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(FAINT)


def _nothing(axes: Axes, why: str) -> None:
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=INK, fontsize=9)
    axes.set_xticks([])


def _whole_numbers(axes: Axes, numbers: Sequence[int]) -> None:
    if numbers:
        axes.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
        # Matplotlib's own ticks for a single iteration would be tenths of it.
        axes.xaxis.set_major_locator(FixedLocator(numbers) if len(numbers) <= 12 else MaxNLocator(integer=True))


def _legend(axes: Axes) -> None:
    """Below the picture: inside it, some bar or whisker would lie under it."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, frameon=False, fontsize=8, labelcolor=INK)
