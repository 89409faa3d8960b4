"""A run in numbers, from its store alone: before and after, each iteration, how trajectories ended, what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from rollin.report import layout
from rollin.report.measures import COSTS, Cost, Counts, Evaluation, Iteration, evaluations, iteration
from rollin.report.tables import Table, markdown, printable
from rollin.store import EvaluationRow, IterationRow, Phase, Store


@dataclass(frozen=True)
class Summary:
    """A run in numbers. Make one with `Summary.of(store)`."""

    name: str
    about: str
    """Method, student, teacher and how far the run is, in one line."""
    evaluations: list[Evaluation]
    iterations: list[Iteration]
    """From 1 on."""
    costs: Mapping[str, Cost]
    """Kind of asking (see COSTS) -> what it cost; kinds that never happened are left out."""

    @classmethod
    def of(cls, store: Store) -> "Summary":
        """Of a run at any stage, also while another process writes it."""
        recipe, rounds, rows = store.recipe(), store.iterations(), store.trajectories()
        counts = Counts()
        for row in rows:
            counts.add(row, store.turns(row.id))
        tasks = {task.instance_id: task for task in store.tasks()}
        return cls(
            name=str(recipe.get("name", "run")),
            about=_about(recipe, rounds, store.evaluations()),
            evaluations=list(evaluations(rows, tasks, counts.tallies)),
            iterations=[iteration(row, rows, counts.tallies) for row in rounds if row.number],
            costs={kind: counts.costs[kind] for kind in COSTS if kind in counts.costs},
        )

    def tables(self) -> list[Table]:
        """Those that have something to say."""
        return [
            *(make(self.evaluations) for make in (layout.rates, layout.exits, layout.failures) if self.evaluations),
            *([layout.iterations(self.iterations)] if self.iterations else []),
            *([layout.costs(self.costs)] if self.costs else []),
        ]

    def render(self, console: Console) -> None:
        """On a terminal."""
        console.print(Text(printable(self.name), "bold"), Text(printable(self.about)))
        for table in self.tables():
            console.print(table.to_rich())
        if not self.tables():
            console.print("Nothing has been recorded yet.")

    def to_markdown(self) -> str:
        """The same as a Markdown page."""
        tables = [table.to_markdown() for table in self.tables()] or ["Nothing has been recorded yet.\n"]
        return "\n".join([f"# {markdown(self.name)}\n", f"{markdown(self.about)}\n", *tables])


def _about(recipe: Mapping[str, object], rounds: list[IterationRow], recorded: list[EvaluationRow]) -> str:
    method, student, teacher = (recipe.get(name) for name in ("method", "student", "teacher"))
    parts = [
        f"method {method['name']}" if isinstance(method, dict) and "name" in method else "",
        f"student {student['model']}" if isinstance(student, dict) and "model" in student else "",
        f"teacher {teacher.get('model', teacher.get('kind'))}" if isinstance(teacher, dict) else "",
        _progress(recipe.get("iterations"), rounds, recorded),
    ]
    return ", ".join(part for part in parts if part)


def _progress(wanted: object, rounds: list[IterationRow], recorded: list[EvaluationRow]) -> str:
    if not rounds:
        return "not begun"
    last = rounds[-1]
    if last.number == 0 and last.phase is not Phase.DONE:
        # `rollin eval` makes such a run: nothing is trained after the measurement.
        return "evaluated only" if recorded else "unfinished: evaluating before training"
    if last.phase is not Phase.DONE:
        return f"unfinished: iteration {last.number} of {wanted} is {last.phase.value}"
    if isinstance(wanted, int) and last.number < wanted:
        return f"unfinished: {last.number} of {wanted} iterations are done"
    return f"finished after iteration {last.number}"
