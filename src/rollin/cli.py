"""The commands. The only place that prints and that turns errors into exit codes."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pythonjsonlogger.json import JsonFormatter
from rich.console import Console

from rollin import __version__
from rollin.errors import InfrastructureFault, UserError
from rollin.report.tables import printable

if TYPE_CHECKING:
    from rollin.progress import ConsoleReporter
    from rollin.recipe import Recipe

app = typer.Typer(
    name="rollin",
    help="Train small LLM agents from strong teachers by DAgger.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()
errors = Console(stderr=True)
INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

Changes = Annotated[
    list[str] | None, typer.Argument(help="Changes to the recipe: key=value.", metavar="[KEY=VALUE]...")
]
RunPath = Annotated[Path, typer.Argument(help="The run's directory.", metavar="RUN")]


@app.command(epilog="Example: `rollin run recipes/quickstart.yaml iterations=2 training.learning_rate=1e-4`")
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/quickstart.yaml.")],
    settings: Changes = None,
    out: Annotated[Path | None, typer.Option(help="The run's directory (default: runs/NAME-TIME).")] = None,
) -> None:
    """Train a student by a recipe."""
    loaded = _read(recipe, settings)
    directory = out or Path("runs") / f"{loaded.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    console.print(f"run directory: {directory}", highlight=False, markup=False)
    from rollin import runs

    with _resumable(directory):
        runs.start(loaded, directory, _reporter())
    _say_what_came_of(directory)


ConfigFile = Annotated[Path | None, typer.Option(help="A config.json that describes it, where no hub is in reach.")]


@app.command(
    epilog="Examples: `rollin plan recipes/quickstart.yaml`,"
    " `rollin plan recipes/paper/dagger-4b.yaml --gpus 8 --gpu-memory-gb 141`"
)
def plan(
    recipe: Annotated[Path, typer.Argument(help="A recipe.")],
    settings: Changes = None,
    gpus: Annotated[int, typer.Option(help="How many there are to be; 0 plans for a CPU.", min=0)] = 0,
    gpu_memory_gb: Annotated[float, typer.Option(help="Of each, in GiB.", min=1)] = 80.0,
    memory_gb: Annotated[float | None, typer.Option(help="Of a CPU, in GiB (default: what is free).", min=1)] = None,
    disk_gb: Annotated[float | None, typer.Option(help="Free for runs and images, in GiB.", min=0)] = None,
    student_config: ConfigFile = None,
    teacher_config: ConfigFile = None,
    assume: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, such as turns=60; see docs/plan.md.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask endpoints whether they answer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """What a recipe takes - memory, disk, tokens, hours - and what of it would not fit. Nothing is started."""
    loaded = _read(recipe, settings)
    from rollin.doctor import available_memory
    from rollin.planning.assumptions import assumed
    from rollin.planning.findings import GIB
    from rollin.planning.layout import render
    from rollin.planning.machine import Machine
    from rollin.planning.plan import Shapes
    from rollin.planning.plan import plan as planned

    there = gpu_memory_gb * GIB if gpus else memory_gb * GIB if memory_gb else available_memory()
    machine = Machine(there, gpus, None if disk_gb is None else disk_gb * GIB)
    assumptions = assumed(loaded, gpus, assume or [])
    found = planned(loaded, Shapes.of(loaded, student_config, teacher_config), machine, assumptions, ask=ask)
    if as_json:
        console.print_json(data=found.to_json())
    else:
        render(found, console)
    raise typer.Exit(1 if found.short else 0)


Places = Annotated[
    list[str] | None, typer.Argument(help="Where a server is by now: KEY.base_url=URL.", metavar="[KEY=VALUE]...")
]


@app.command(
    epilog="Examples: `rollin resume runs/quickstart-20260101-120000`,"
    " `rollin resume runs/x teacher.base_url=http://elsewhere:8000/v1`"
)
def resume(directory: RunPath, places: Places = None) -> None:
    """Go on with a run that was stopped or killed: committed turns are kept."""
    from rollin.store import Store, database_of

    with Store.read(database_of(directory)):
        pass  # what is no run is told before torch is loaded
    from rollin import runs

    with _resumable(directory):
        runs.resume(directory, _reporter(), places or [])
    _say_what_came_of(directory)


@app.command("eval", epilog="Example: `rollin eval recipes/quickstart.yaml --model runs/x/checkpoints/iteration-3`")
def evaluate(
    recipe: Annotated[Path, typer.Argument(help="A recipe: its eval tasks and its harness are used.")],
    settings: Changes = None,
    model: Annotated[
        str | None, typer.Option(help="The student to measure (default: the recipe's, untrained).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to keep run.db (default: runs/eval-NAME-TIME).")] = None,
) -> None:
    """Measure a student alone, greedy, on a recipe's held-out tasks."""
    loaded = _read(recipe, settings)
    if model is not None:  # not as a change to the recipe, which would be YAML
        loaded = loaded.model_copy(update={"student": loaded.student.model_copy(update={"model": model})})
    from rollin import runs

    directory = out or Path("runs") / f"eval-{loaded.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    with _resumable(directory, f"the same command and --out {directory}"):
        rate = runs.evaluate(loaded, directory, _reporter())
    console.print(f"resolved {rate}", highlight=False)


@app.command(epilog="Example: `rollin compare recipes/quickstart.yaml --methods sft,dagger --seeds 3 --out compared`")
def compare(
    recipe: Annotated[Path, typer.Argument(help="A recipe; each method's runs are made of it.")],
    settings: Changes = None,
    methods: Annotated[str, typer.Option(help="Which, with commas between them.")] = "sft,sft-matched,dagger",
    seeds: Annotated[int, typer.Option(help="Runs of each method, with seeds 0, 1, 2 ...", min=1)] = 3,
    against: Annotated[
        str | None, typer.Option(help="The method that the others are compared with (default: dagger, or the first).")
    ] = None,
    drift: Annotated[int, typer.Option(help="Trajectories on which to measure drift from a local teacher.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Where the runs go (default: comparisons/NAME).")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Run nothing; show what is done and what was found.")] = False,
) -> None:
    """Train the same student by several methods on the same tasks, and say what sets them apart.

    The same command goes on with a comparison that was stopped. Each run that is done leaves a small file in
    OUT/results; put there from another machine, it need not be run again.
    """
    loaded = _read(recipe, settings)
    from rollin.comparison import Comparison
    from rollin.files import write_text
    from rollin.report.comparing import Findings

    directory = out or Path("comparisons") / loaded.name
    names = [*dict.fromkeys(name.strip() for name in methods.split(","))]
    comparison = Comparison(loaded, names, range(seeds), directory, drift)
    against = against or ("dagger" if "dagger" in names else names[0])
    if against not in names:
        raise UserError(f"--against {against!r} is none of the methods {', '.join(names)}; add it, or name one of them")
    if not dry:
        comparison.run(_reporter())
    found = Findings.of(comparison)
    tables = found.tables(against)
    for table in tables:
        console.print(table.to_rich())
    if found.outcomes:
        text = "\n".join(table.to_markdown() for table in tables)
        write_text(directory / "comparison.md", text, "the comparison's tables")
        console.print(f"outcomes: {found.write(directory / 'outcomes.parquet')}", highlight=False, markup=False)
        picture = found.draw(directory / "comparison.png")
        page = found.page(f"Comparison {loaded.name}", against, picture, directory / "comparison.html")
        console.print(f"plot: {picture}\npage: {page}", highlight=False, markup=False)


Place = Annotated[str, typer.Option(help="A base URL such as http://host:8000/v1, or a checkpoint to run here.")]
Name = Annotated[str, typer.Option(help="What its server calls it.")]
KeyVariable = Annotated[str, typer.Option(help="The variable that holds its server's key.")]
MaxTokens = Annotated[int, typer.Option(help="Length limit of an action, in tokens.", min=1)]


@app.command(
    epilog="Example: `rollin serve --student smollm2-135m --teacher https://api.openai.com/v1 --teacher-model gpt-5`"
)
def serve(
    student: Place,
    student_model: Name = "",
    student_key_env: KeyVariable = "STUDENT_API_KEY",
    teacher: Annotated[str | None, typer.Option(help="Likewise. Without one, nothing is labelled.")] = None,
    teacher_model: Name = "",
    teacher_key_env: KeyVariable = "OPENAI_API_KEY",
    mixture: Annotated[str, typer.Option(help="Who acts: student, teacher, or beta=0.5 for a mixture.")] = "student",
    temperature: Annotated[float, typer.Option(help="Of the student's actions.", min=0)] = 0.7,
    max_tokens: MaxTokens = 1024,
    host: Annotated[str, typer.Option(help="Anything but loopback lets the network in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8600,
    out: Annotated[Path | None, typer.Option(help="Where to record (default: runs/serve-TIME).")] = None,
) -> None:
    """Stand between an agent and its model: every call becomes a mixed, labelled, recorded turn.

    The environment may hold ROLLIN_KEY, which opens sessions, and ROLLIN_PLAIN_KEY; without them both are new.
    """
    from rollin import serving
    from rollin.policies.base import Sampling

    directory = out or Path("runs") / f"serve-{time.strftime('%Y%m%d-%H%M%S')}"
    drawn, greedy = Sampling(temperature=temperature, max_tokens=max_tokens), Sampling(max_tokens=max_tokens)
    acting = serving.Model(student, student_model, student_key_env, drawn)
    labelling = serving.Model(teacher, teacher_model, teacher_key_env, greedy) if teacher else None
    with serving.serving(acting, labelling, serving.mixture(mixture), directory, host=host, port=port) as server:
        for line in server.directions(directory):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        _watch(server.status)


def _watch(status: Callable[[], str]) -> None:
    """Show a line that keeps up with what happens, until Ctrl-C; where there is no terminal, a line a minute."""
    said, seconds = "", 0
    with console.status(status()) as line:
        while True:
            # In short naps: Ctrl-C that comes just before one begins is heard when it is over.
            time.sleep(1)
            seconds += 1
            line.update(status())
            if not console.is_terminal and seconds % 60 == 0 and status() != said:
                said = status()
                console.print(said, highlight=False)


@app.command(epilog="Example: `rollin label runs/serve-x --teacher https://api.openai.com/v1 --teacher-model gpt-5`")
def label(
    directory: RunPath,
    teacher: Place,
    teacher_model: Name = "",
    teacher_key_env: KeyVariable = "OPENAI_API_KEY",
    max_tokens: MaxTokens = 1024,
) -> None:
    """Ask for the labels that a recorded run has not got."""
    from rollin import serving
    from rollin.policies.base import Sampling
    from rollin.store import LabelStatus

    asked = serving.Model(teacher, teacher_model, teacher_key_env, Sampling(max_tokens=max_tokens))
    counts = serving.fill_in(directory, asked, _reporter())
    console.print(", ".join(f"{status}: {count}" for status, count in counts.items() if count), highlight=False)
    if missing := counts[LabelStatus.MISSING]:
        raise InfrastructureFault(f"{missing} labels are still missing; see what the log says, and label again")


@app.command()
def doctor() -> None:
    """What is installed, what is missing, what to do about it."""
    from rollin.doctor import checks, exit_code, render

    found = checks()
    render(found, console)
    raise typer.Exit(exit_code(found))


@app.command()
def version() -> None:
    """Print rollin's version."""
    console.print(__version__, highlight=False)


def _read(recipe: Path, settings: list[str] | None) -> "Recipe":
    """The recipe, before torch and all that runs it are loaded: a slip in it is told at once."""
    from rollin.recipe import load_recipe

    return load_recipe(recipe, settings or [])


def _reporter() -> "ConsoleReporter":
    from rollin.progress import ConsoleReporter

    return ConsoleReporter(console)


def _say_what_came_of(directory: Path) -> None:
    from rollin.report.cli import report

    report(directory)


@contextmanager
def _resumable(directory: Path, by: str | None = None) -> Iterator[None]:
    """Whatever stops a run, say how to go on with it: by `rollin resume`, or otherwise."""
    try:
        yield
    except (KeyboardInterrupt, InfrastructureFault):
        if (directory / "run.db").exists():
            by = by or f"rollin resume {directory}"
            told = f"stopped; what is committed is kept. Go on with: {by}"
            errors.print(told, highlight=False, markup=False, soft_wrap=True)
        raise


def main() -> None:
    """The entry point: bad input is one sentence and exit code 2, an infrastructure fault is one and 3."""
    try:
        _log()
        app()
    except UserError as error:
        _fail(str(error), 2)
    except InfrastructureFault as fault:
        _fail(f"the infrastructure failed: {fault}", 3)
    except KeyboardInterrupt:
        _leave(INTERRUPTED)
    except SystemExit as done:  # which typer makes of an interruption
        if done.code == INTERRUPTED:
            _leave(INTERRUPTED)
        raise


def _log() -> None:
    """To stderr. `ROLLIN_LOG` is rollin's own level (`info` tells every turn and label), `ROLLIN_LOG_FORMAT=json` makes
    an object of every line."""
    level = os.environ.get("ROLLIN_LOG", "error").upper()
    if level not in logging.getLevelNamesMapping():
        raise UserError(f"ROLLIN_LOG is {level.lower()!r}; set it to debug, info, warning or error")
    handler = logging.StreamHandler()
    if os.environ.get("ROLLIN_LOG_FORMAT") == "json":
        handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    logging.basicConfig(level="ERROR", handlers=[handler])
    logging.getLogger("rollin").setLevel(level)


def _fail(sentence: str, code: int) -> None:
    errors.print(f"rollin: {printable(sentence)}", style="red", highlight=False, markup=False, soft_wrap=True)
    _leave(code)


def _leave(code: int) -> None:
    # Trajectories under way run on threads; what they had committed is safe, and nobody wants to wait for the rest.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _mount() -> None:
    from rollin.report.cli import export, looking
    from rollin.tasks.cli import app as tasks

    app.add_typer(tasks, name="tasks", help="Build, fetch, list, show and validate tasks.")
    app.add_typer(looking)
    app.add_typer(export, name="export", help="Write what a run holds for other tools.")


_mount()

if __name__ == "__main__":
    main()
