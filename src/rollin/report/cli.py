"""`rollin export`: what a run holds, in the forms that others read."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console()

RunPath = Annotated[Path, typer.Argument(help="The run's directory.", metavar="RUN")]


@app.command(epilog="Example: `rollin export predictions runs/x --iteration 3 --out predictions.jsonl`")
def predictions(
    directory: RunPath,
    iteration: Annotated[int | None, typer.Option(help="Of which evaluation (default: the last).", min=0)] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file (default: in RUN/report).")] = None,
) -> None:
    """An evaluation's patches in SWE-bench's format, one a task."""
    from rollin.runs import database
    from rollin.store import Store
    from rollin.store.export import predictions, write_predictions

    with Store.read(database(directory)) as store:
        found = predictions(store, iteration)
    path = write_predictions(found.rows, out or directory / "report" / f"predictions-{found.iteration}.jsonl")
    empty = sum(not row["model_patch"].strip() for row in found.rows)
    console.print(f"{path}: {len(found.rows)} predictions, {empty} of them without a patch", highlight=False)
    for task in found.faults:
        console.print(f"  left out, an infrastructure fault: {task}", highlight=False, markup=False)


@app.command(epilog="Example: `rollin export parquet runs/x --out turns.parquet`")
def parquet(
    directory: RunPath,
    iteration: Annotated[int | None, typer.Option(help="Only this iteration's.", min=0)] = None,
    out: Annotated[Path | None, typer.Option(help="The file (default: RUN/report/turns.parquet).")] = None,
) -> None:
    """Every turn as a row: its state in the chat format, who acted, the action, the label."""
    from rollin.runs import database
    from rollin.store import Store
    from rollin.store.export import write_turns

    path = out or directory / "report" / "turns.parquet"
    with Store.read(database(directory)) as store:
        count = write_turns(store, path, iteration)
    console.print(f"{path}: {count} turns", highlight=False)
