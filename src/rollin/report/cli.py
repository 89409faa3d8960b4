"""Commands that look at a run: `rollin show`, `report`, `drift`, `swebench`, and `rollin export`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rollin.errors import UserError

looking = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)
export = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console()

RunPath = Annotated[Path, typer.Argument(help="The run's directory.", metavar="RUN")]
LAST = 2**31 - 1
"""No iteration has a larger number."""


@looking.command(epilog="Examples: `rollin show runs/x`, `rollin show runs/x 12`")
def show(
    directory: RunPath,
    trajectory: Annotated[int | None, typer.Argument(help="A trajectory's number; all are listed without it.")] = None,
    iteration: Annotated[int | None, typer.Option(help="Only this iteration's.", min=0, max=LAST)] = None,
    purpose: Annotated[str | None, typer.Option(help="Only `collect`, `eval` or `probe`.")] = None,
    resolved: Annotated[bool | None, typer.Option("--resolved/--failed", help="Only those resolved, or not.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Look at a run: its trajectories, or one of them turn by turn."""
    from rollin.report.viewer import show_run, show_trajectory
    from rollin.store import Purpose, Store, database_of

    if purpose is not None and purpose not in list(Purpose):
        raise UserError(f"--purpose {purpose!r} is none of {', '.join(Purpose)}")
    with Store.read(database_of(directory)) as store:
        if trajectory is not None:
            show_trajectory(store, trajectory, console, as_json=as_json)
            return
        chosen = Purpose(purpose) if purpose else None
        show_run(store, console, iteration=iteration, purpose=chosen, resolved=resolved, as_json=as_json)


@looking.command()
def report(directory: RunPath) -> None:
    """Print a run's tables and draw its plot again."""
    from rollin.files import write_text
    from rollin.report.plot import plot
    from rollin.report.summary import Summary
    from rollin.store import Store, database_of

    with Store.read(database_of(directory)) as store:
        summary = Summary.of(store)
        summary.render(console)
        write_text(directory / "report" / "summary.md", summary.to_markdown(), "the report")
        picture = plot(store, directory / "report" / "result.png")
        example = next(iter(reversed(store.trajectories())), None)
    console.print(f"plot: {picture}", highlight=False, markup=False)
    if example:
        console.print(f"look at a trajectory: rollin show {directory} {example.id}", highlight=False, markup=False)


@looking.command(epilog="Example: `rollin drift runs/x --teacher runs/teacher/checkpoints/iteration-3`")
def drift(
    directory: RunPath,
    teacher: Annotated[str, typer.Option(help="A local model that shares the student's tokenizer.")],
    trajectories: Annotated[int | None, typer.Option(help="Of each evaluation, at most so many.", min=1)] = None,
) -> None:
    """Covariate shift: how far the student is from a teacher in the states that it reaches alone, by iteration."""
    from rollin.evaluation.drift import drifts
    from rollin.report.layout import drift_table
    from rollin.store import Store, database_of

    with Store.read(database_of(directory)) as store:
        console.print(drift_table(drifts(store, directory, teacher, trajectories)).to_rich())


@looking.command(epilog="Example: `rollin swebench runs/x --iteration 3 --workers 8`")
def swebench(
    directory: RunPath,
    iteration: Annotated[
        int | None, typer.Option(help="Of which evaluation (default: the last).", min=0, max=LAST)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="A name on the hub, or a file (default: where the run's tasks are from).")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of the data set (default: test).")] = None,
    workers: Annotated[int, typer.Option(help="Containers at once.", min=1)] = 4,
    seconds: Annotated[int, typer.Option(help="For the tests of one task.", min=1)] = 1800,
) -> None:
    """Let SWE-bench's own harness evaluate a run's patches, in its containers (needs a Docker engine)."""
    from rollin.evaluation import official
    from rollin.store import Store, database_of
    from rollin.store.export import predictions

    with Store.read(database_of(directory)) as store:
        found = predictions(store, iteration)
    job = official.job(found, dataset, split, workers, seconds)
    official.check_engine()
    report = official.evaluate(job, directory / "swebench")
    counts = [f"{report.get(f'{what}_instances')} {what}" for what in ("submitted", "completed", "resolved", "error")]
    console.print(f"{job.dataset}, by swebench: {', '.join(counts)}", highlight=False, markup=False)


@export.command(epilog="Example: `rollin export predictions runs/x --iteration 3 --out predictions.jsonl`")
def predictions(
    directory: RunPath,
    iteration: Annotated[
        int | None, typer.Option(help="Of which evaluation (default: the last).", min=0, max=LAST)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file (default: in RUN/report).")] = None,
) -> None:
    """An evaluation's patches in SWE-bench's format, one a task."""
    from rollin.store import Store, database_of
    from rollin.store.export import predictions, write_predictions

    with Store.read(database_of(directory)) as store:
        found = predictions(store, iteration)
    path = write_predictions(found.rows, out or directory / "report" / f"predictions-{found.iteration}.jsonl")
    empty = sum(not row["model_patch"].strip() for row in found.rows)
    console.print(
        f"{path}: {len(found.rows)} predictions, {empty} of them without a patch", highlight=False, markup=False
    )
    for task in found.faults:
        console.print(f"  left out, an infrastructure fault: {task}", highlight=False, markup=False)


@export.command(epilog="Example: `rollin export parquet runs/x --out turns.parquet`")
def parquet(
    directory: RunPath,
    iteration: Annotated[int | None, typer.Option(help="Only this iteration's.", min=0, max=LAST)] = None,
    out: Annotated[Path | None, typer.Option(help="The file (default: RUN/report/turns.parquet).")] = None,
) -> None:
    """Every turn as a row: its state in the chat format, who acted, the action, the label."""
    from rollin.store import Store, database_of
    from rollin.store.export import write_turns

    path = out or directory / "report" / "turns.parquet"
    with Store.read(database_of(directory)) as store:
        count = write_turns(store, path, iteration)
    console.print(f"{path}: {count} turns", highlight=False, markup=False)
