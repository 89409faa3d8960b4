"""A plan as tables."""

from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rollin.planning.findings import Figure, Finding, Plan, Unit, Verdict

STYLE = {
    Verdict.FITS: "green",
    Verdict.SHORT: "bold red",
    Verdict.DOUBTFUL: "yellow",
    Verdict.UNCHECKED: "dim",
}
SUMMED = (Unit.BYTES,)
"""Figures of a group in these units add up to something."""


def render(plan: Plan, console: Console) -> None:
    """Figures with their origins, then findings with their cures, then one line."""
    for group, figures in groupby(plan.figures, key=lambda figure: figure.group):
        console.print(_figures(group, [*figures]))
    console.print(_findings(plan.findings))
    for finding in plan.findings:
        if finding.cure:
            console.print(Text.assemble((f"{finding.part}: ", "bold"), finding.cure), soft_wrap=True)
    console.print(f"{plan.recipe}: {plan.verdict}", highlight=False, soft_wrap=True)


def _figures(group: str, figures: list[Figure]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=group, title_justify="left", title_style="bold")
    table.add_column("what")
    table.add_column("how much", justify="right", no_wrap=True)
    table.add_column("from")
    for figure in figures:
        table.add_row(Text(figure.name), Text(figure.shown), Text(figure.origin))
    if len(figures) > 1 and all(figure.unit in SUMMED for figure in figures):
        total = Figure(group, "all", sum(figure.amount for figure in figures), figures[0].unit, "")
        table.add_row(Text("all", "bold"), Text(total.shown, "bold"), "")
    return table


def _findings(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    for finding in findings:
        table.add_row(Text(finding.verdict, STYLE[finding.verdict]), Text(finding.part), Text(finding.found))
    return table
