"""Which number stands where in a summary's tables. What was measured runs across, so that a page is wide enough."""

from collections.abc import Callable, Mapping, Sequence

from rollin.evaluation.rate import Rate
from rollin.evaluation.result import Drift
from rollin.report.measures import Cost, Evaluation, Iteration
from rollin.report.tables import Table

NONE = "-"
"""A cell without a number."""


def rates(evaluations: Sequence[Evaluation]) -> Table:
    """Before and after, by group."""
    groups = sorted({name for evaluation in evaluations for name in evaluation.groups})
    rows = [[name, *(_rate(e.groups.get(name)) for e in evaluations)] for name in groups]
    rows.append(["overall", *(_rate(evaluation.overall) for evaluation in evaluations)])
    if any(evaluation.tally.compared for evaluation in evaluations):
        shares = (_share(evaluation.tally.agreeing, evaluation.tally.compared) for evaluation in evaluations)
        rows.append(["turns like the teacher's", *shares])
    return Table(
        "Resolve rate on held-out tasks",
        ["tasks", *(evaluation.title for evaluation in evaluations)],
        rows,
        "Resolved of those that count, with Wilson's 95% interval. The infrastructure's faults are in no rate.",
    )


def exits(evaluations: Sequence[Evaluation]) -> Table:
    """How the evaluations' trajectories ended."""
    kinds = [kind for kind in evaluations[0].exits if any(e.exits[kind] for e in evaluations)]
    rows = [[kind.value.replace("_", " "), *(str(e.exits[kind]) for e in evaluations)] for kind in kinds]
    if any(e.under_way for e in evaluations):
        rows.append(["under way", *(str(e.under_way) for e in evaluations)])
    rows.append(["seconds", *(_decimals(e.seconds, 0) for e in evaluations)])
    return Table("How evaluation ended", ["exit", *(e.title for e in evaluations)], rows)


def failures(evaluations: Sequence[Evaluation]) -> Table:
    """Why tasks were not resolved."""
    kinds = [kind for kind in evaluations[0].failures if any(e.failures[kind] for e in evaluations)]
    rows = [[kind.value, *(str(e.failures[kind]) for e in evaluations)] for kind in kinds]
    note = "Each trajectory counts once, for the first that fits, from above: see evaluation/failures.py."
    return Table("Why tasks were not resolved", ["failure", *(e.title for e in evaluations)], rows, note)


def iterations(rounds: Sequence[Iteration]) -> Table:
    """What each iteration collected, and what training on it did."""
    quantities: dict[str, Callable[[Iteration], str]] = {
        "phase": lambda i: i.phase.value,
        "beta": lambda i: _decimals(i.beta, 2),
        "trajectories": lambda i: f"{i.trajectories}" + (f" ({i.under_way} under way)" if i.under_way else ""),
        "collected, resolved": lambda i: _rate(i.collected),
        "turns": lambda i: str(i.tally.turns),
        "teacher acted": lambda i: _percent(i.tally.teacher_share),
        "labels": lambda i: str(i.tally.labels),
        "labels missing": lambda i: str(i.tally.labels_missing),
        "student's action is the label": lambda i: _share(i.tally.agreeing, i.tally.compared),
        "training loss (nats)": lambda i: _decimals(i.training.loss, 3),
        "label tokens": lambda i: _count(i.training.label_tokens),
        "tokens, packed": lambda i: _count(i.training.packed_tokens),
        "tokens, as separate samples": lambda i: _count(i.training.separate_tokens),
        "seconds collecting": lambda i: _decimals(i.collecting_seconds, 0),
        "seconds training": lambda i: _decimals(i.training.seconds, 0),
    }
    rows = [[name, *(quantity(i) for i in rounds)] for name, quantity in quantities.items()]
    return Table(
        "Iterations",
        ["iteration", *(str(i.number) for i in rounds)],
        rows,
        "Whether the student's action is the label is counted where the student acted. Token counts are of one epoch.",
    )


def drift_table(found: Sequence[Drift]) -> Table:
    """Reverse KL by iteration."""
    rows = [
        [str(d.iteration), f"{d.value:.4f} ({d.low:.4f}-{d.high:.4f})", str(d.trajectories), _count(d.tokens)]
        for d in found
    ]
    return Table(
        "KL(student || teacher) on the student's own trajectories",
        ["iteration", "nats a token (95% interval)", "trajectories", "tokens"],
        rows,
        "Over the whole vocabulary, at each token that the student said; bootstrap interval over trajectories.",
    )


def costs(kinds: Mapping[str, Cost]) -> Table:
    """What was asked of whom."""
    rows = [
        [kind, *map(_count, (cost.calls, cost.prompt_tokens, cost.completion_tokens)), _decimals(cost.seconds, 0)]
        for kind, cost in kinds.items()
    ]
    return Table("Cost", ["who", "calls", "prompt tokens", "completion tokens", "seconds, added up"], rows)


def _rate(rate: Rate | None) -> str:
    if rate is None or not (rate.n or rate.faults):
        return NONE
    low, high = rate.interval
    known = f"{_percent(rate.value)} ({rate.resolved}/{rate.n}, {100 * low:.1f}-{100 * high:.1f}%)"
    return (known if rate.n else NONE) + (f", {rate.faults} fault{'s' * (rate.faults > 1)}" if rate.faults else "")


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.1f}%"


def _share(part: int, whole: int) -> str:
    return f"{_percent(part / whole)} ({part}/{whole})" if whole else NONE


def _decimals(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:,.{digits}f}"


def _count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"
