"""`rollin tasks`: build, list, show and validate task files."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from rollin.errors import UserError
from rollin.tasks.schema import Family, Split, Task, read_tasks

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console()

TaskFiles = Annotated[list[Path], typer.Argument(help="Task files (JSONL).", metavar="FILE...")]


@app.command(
    epilog="Examples: `rollin tasks build --train 60 --eval 60`,"
    " `rollin tasks build --source package --family semantic --eval 40 --out tasks`"
)
def build(
    source: Annotated[
        str, typer.Option(help="`kata` (ours, tiny) or `package` (real ones, downloaded from PyPI).")
    ] = "kata",
    family: Annotated[
        list[Family] | None, typer.Option(help="Repeat for several (default: visible, regression).")
    ] = None,
    train: Annotated[int, typer.Option(help="Tasks of each family to train on.", min=0)] = 0,
    evaluation: Annotated[int, typer.Option("--eval", help="Tasks of each family to measure on.", min=0)] = 0,
    faults: Annotated[
        int | None, typer.Option(help="Faults in a task of the visible family (default: one to three).", min=1, max=4)
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed puts other faults into the same modules.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the task files go.")] = Path("tasks"),
    workers: Annotated[int, typer.Option(help="Sandboxes at work at once; changes nothing but the time.", min=1)] = 2,
) -> None:
    """Put faults into software, keep those that tests reveal and the reference patch repairs, write task files."""
    from rollin.tasks.build import Order, build_file

    sizes = {Split.TRAIN: train, Split.EVAL: evaluation}
    if not any(sizes.values()):
        raise UserError("nothing to build: say how many tasks with --train and --eval")
    families = family or [Family.VISIBLE, Family.REGRESSION]
    if faults and Family.VISIBLE not in families:
        raise UserError("--faults is for the visible family only; leave it out, or add --family visible")
    orders = [
        Order(source, kind, split, count, seed, faults if kind is Family.VISIBLE else None)
        for kind in families
        for split, count in sizes.items()
        if count
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for order in orders:
            bar = progress.add_task(order.file_name, total=order.count)
            built = build_file(order, out, workers, lambda step, bar=bar: progress.advance(bar, step))  # type: ignore[misc]
            progress.console.print(f"{out / order.file_name}: {len(built.tasks)} tasks kept", highlight=False)
            for reason, number in built.dropped.most_common():
                progress.console.print(f"  dropped {number}: {reason}", highlight=False, markup=False)


@app.command("list", epilog="Example: `rollin tasks list tasks/*.jsonl`")
def list_tasks(files: TaskFiles) -> None:
    """What is in task files: one line a task, and how many faults of which kind."""
    kinds: Counter[str] = Counter()
    table = Table(
        Column("task", no_wrap=True), "split", "tests", Column("problem", no_wrap=True), box=None, pad_edge=False
    )
    for path in files:
        for task in read_tasks(path):
            kinds.update(task.fault_kinds)
            statement = escape(task.problem_statement.strip().splitlines()[0] if task.problem_statement.strip() else "")
            table.add_row(escape(task.instance_id), task.split.value, str(len(task.FAIL_TO_PASS)), statement)
    console.print(table)
    console.print(f"{table.row_count} tasks; " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))


@app.command(epilog="Example: `rollin tasks show kata__cart-visible-0a1b2c3d tasks/*.jsonl`")
def show(
    instance_id: Annotated[str, typer.Argument(help="The task's id, or enough of its start.")], files: TaskFiles
) -> None:
    """One task in full: report, history, tests and the reference patch."""
    found = [task for path in files for task in read_tasks(path) if task.instance_id.startswith(instance_id)]
    if len({task.instance_id for task in found}) != 1:
        raise UserError(f"{len(found)} tasks start with {instance_id!r}; `rollin tasks list` shows all ids")
    task = found[0]
    lines = [
        f"{task.instance_id}  ({task.family.value}, {task.split.value}; {', '.join(task.fault_kinds)})",
        f"base commit {task.base_commit} of {task.pristine or task.repo}",
        "",
        task.problem_statement,
        "",
        *(f"  {number}. {commit.subject}" for number, commit in enumerate(task.history, start=1)),
        "",
        *(f"  has to pass: {name}" for name in task.FAIL_TO_PASS),
        f"  and {len(task.PASS_TO_PASS)} tests that pass already",
        "",
        task.patch,
    ]
    console.print("\n".join(lines), highlight=False, markup=False)


@app.command(epilog="Example: `rollin tasks validate tasks/kata-visible-eval.jsonl`")
def validate(
    files: TaskFiles,
    workers: Annotated[int, typer.Option(help="Sandboxes at work at once.", min=1)] = 2,
) -> None:
    """Grade every task without a patch, which has to fail, and with its reference patch, which has to resolve it."""
    tasks = [task for path in files for task in read_tasks(path)]
    wrong = 0
    with ThreadPoolExecutor(workers) as pool, Progress(console=console) as progress:
        bar = progress.add_task("validate", total=len(tasks))
        for task, complaint in zip(tasks, pool.map(_complaint, tasks), strict=True):
            progress.advance(bar)
            if complaint:
                wrong += 1
                progress.console.print(f"{task.instance_id}: {complaint}", highlight=False, markup=False)
    console.print(f"{len(tasks) - wrong} of {len(tasks)} tasks are sound")
    raise typer.Exit(1 if wrong else 0)


def _complaint(task: Task) -> str:
    from rollin.tasks.cache import cache_folder
    from rollin.tasks.grading import grade

    repositories = cache_folder() / "repositories"
    if grade(task, "", repositories).resolved:
        return "it counts as resolved without any patch"
    return "" if grade(task, task.patch, repositories).resolved else "the reference patch does not resolve it"
