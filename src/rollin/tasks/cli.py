"""`rollin tasks`: build, fetch, list, show and validate task files."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from rollin.errors import InfrastructureFault, UserError
from rollin.files import read_text
from rollin.report.tables import printable
from rollin.tasks.choosing import choice_of
from rollin.tasks.packages import OWN
from rollin.tasks.published.catalogue import Format
from rollin.tasks.published.patches import changed_lines
from rollin.tasks.schema import Family, Split, Task, one_each, read_tasks, write_field, write_tasks

if TYPE_CHECKING:
    from rollin.tasks.build import Built

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
        int | None, typer.Option(help="Faults in a task (default: visible one to three, semantic one).", min=1, max=4)
    ] = None,
    spread: Annotated[bool, typer.Option("--spread", help="Faults of a task lie in several files.")] = False,
    packages: Annotated[Path, typer.Option(help="A catalogue by `rollin tasks scout` (default: rollin's own).")] = OWN,
    seed: Annotated[int, typer.Option(help="Another seed puts other faults into the same modules.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the task files go.")] = Path("tasks"),
    workers: Annotated[
        int | None,
        typer.Option(
            help="Sandboxes at work at once (default: one a processor, 8 at most); changes nothing but the time.", min=1
        ),
    ] = None,
) -> None:
    """Put faults into software, keep those that tests reveal and the reference patch repairs, write task files."""
    from rollin.tasks.build import WORKERS, Order, build_file

    sizes = {Split.TRAIN: train, Split.EVAL: evaluation}
    if not any(sizes.values()):
        raise UserError("nothing to build: say how many tasks with --train and --eval")
    families = family or [Family.VISIBLE, Family.REGRESSION]
    if (faults or spread) and Family.REGRESSION in families:
        raise UserError("a regression holds one fault: with --faults or --spread, say --family visible or semantic")
    if spread and source != "package":
        raise UserError("a kata is one file: --spread wants --source package")
    orders = [
        Order(source, kind, split, count, seed, faults, spread=spread, catalogue=packages)
        for kind in families
        for split, count in sizes.items()
        if count
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    seconds = list[float]()
    with Progress(*columns, console=console) as progress:
        for order in orders:
            bar = progress.add_task(order.file_name, total=order.count)
            built = build_file(order, out, workers or WORKERS, lambda step, bar=bar: progress.advance(bar, step))  # type: ignore[misc]
            progress.console.print(
                f"{out / order.file_name}: {len(built.tasks)} tasks kept", highlight=False, markup=False
            )
            for reason, number in built.dropped.most_common():
                progress.console.print(f"  dropped {number}: {reason}", highlight=False, markup=False)
            progress.console.print(_yield(built))
            seconds += built.seconds
    if len(orders) > 1 and seconds:
        console.print(f"{len(seconds)} tasks in all: {_typical(seconds)}", highlight=False)


def _yield(built: "Built") -> Table:
    """How many faults of each kind were put in, and how many of them are in the tasks that were kept."""
    table = Table("kind", "tried", "kept", "yield", box=None, pad_edge=False)
    for kind, tried in sorted(built.tried.items()):
        kept = built.kinds[kind]
        table.add_row(kind, str(tried), str(kept), f"{kept / tried:.0%}")
    if built.seconds:
        table.caption = _typical(built.seconds)
    return table


def _typical(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} s of a worker's time for a kept task (median)"


@app.command(epilog="Example: `rollin tasks scout toolz natsort==8.4.0 --out packages.json`")
def scout(
    requirements: Annotated[
        list[str], typer.Argument(help="Packages of PyPI, NAME or NAME==VERSION, or @FILE with one a line.")
    ],
    out: Annotated[Path, typer.Option(help="The catalogue; what is in it already is kept.")] = Path("packages.json"),
) -> None:
    """Find out in which modules of packages faults can be put: those with tests that pass here, offline, and soon.

    Their tests run in a sandbox. Use the catalogue with `rollin tasks build --source package --packages FILE`.
    """
    from packaging.utils import canonicalize_name

    from rollin.tasks.packages import read_catalogue, write_catalogue
    from rollin.tasks.scout import scout as look

    found = {canonicalize_name(package.name): package for package in read_catalogue(out)} if out.exists() else {}
    wanted = [name for given in requirements for name in _listed(given)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("scout", total=len(wanted))
        for requirement in wanted:
            name = canonicalize_name(requirement.partition("==")[0])
            package = look(requirement) if name not in found else "it is in the catalogue"
            if isinstance(package, str):
                progress.console.print(f"{requirement}: {package}", highlight=False, markup=False)
            else:
                found[name] = package
                write_catalogue(out, list(found.values()))
                progress.console.print(f"{package.origin.requirement}: {len(package.modules)} modules", highlight=False)
            progress.advance(bar)
    console.print(f"{out}: {len(found)} packages, {sum(len(p.modules) for p in found.values())} modules")


def _listed(given: str) -> list[str]:
    """A package, or those that a file lists."""
    if not given.startswith("@"):
        return [given]
    lines = read_text(Path(given[1:]), f"the list {given[1:]}").splitlines()
    return [name for line in lines if (name := line.partition("#")[0].strip())]


Repositories = Annotated[list[str] | None, typer.Option(metavar="OWNER/NAME", help="Repeat for several.")]
Ids = Annotated[list[str] | None, typer.Option(metavar="ID", help="Repeat for several.")]


@app.command(
    epilog="Examples: `rollin tasks fetch SWE-Gym/SWE-Gym --held-out 100 --part train --out train.jsonl`,"
    " `rollin tasks fetch rows.parquet --repo dask/dask --out dask.jsonl`"
)
def fetch(
    dataset: Annotated[str, typer.Argument(help="A data set's name on the hub, or a Parquet or JSONL file.")],
    out: Annotated[Path, typer.Option(help="The task file that is written.")],
    split: Annotated[str | None, typer.Option(help="Of a data set on the hub.")] = None,
    revision: Annotated[str | None, typer.Option(help="A commit, branch or tag of a data set on the hub.")] = None,
    format: Annotated[Format | None, typer.Option(help="Of its rows, where they don't say it.")] = None,
    repo: Repositories = None,
    without_repo: Repositories = None,
    id: Ids = None,
    without_id: Ids = None,
    max_patch_lines: Annotated[int | None, typer.Option(help="At most so many changed lines.", min=1)] = None,
    held_out: Annotated[int | None, typer.Option(help="So many tasks are held out; see --part.", min=1)] = None,
    part: Annotated[str | None, typer.Option(help="`train` or `held_out`.")] = None,
    count: Annotated[int | None, typer.Option(help="The first so many.", min=1)] = None,
) -> None:
    """Write the tasks of a published data set as a task file, and say what was kept, what was skipped, and why."""
    from rollin.tasks.published.reading import Source, read

    filters = {"repos": repo, "without_repos": without_repo, "ids": id, "without_ids": without_id}
    sizes = {"max_patch_lines": max_patch_lines, "held_out": held_out, "part": part, "count": count}
    choice = choice_of({name: value for name, value in (filters | sizes).items() if value})
    is_file = Path(dataset).suffix in (".parquet", ".jsonl") or Path(dataset).is_file()
    if is_file and (split or revision):
        raise UserError(f"{dataset} is a file: --split and --revision are for data sets on the hub; leave them out")
    chosen = choice.of(read(Source(dataset, is_file, format, split, revision)), dataset)
    write_tasks(out, chosen.tasks)
    console.print(f"{out}: {len(chosen.tasks)} tasks kept", highlight=False, soft_wrap=True, markup=False)
    for reason, number in chosen.left_out.most_common():
        console.print(f"  left out {number}: {reason}", highlight=False, soft_wrap=True, markup=False)
    for line in chosen.told(dataset, most=len(chosen.skipped)):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@app.command(epilog="Example: `ROLLIN_REPOSITORIES=~/clones rollin tasks nativize verified.jsonl --out native.jsonl`")
def nativize(
    file: Annotated[Path, typer.Argument(help="Tasks or rows of a published data set (JSONL or Parquet).")],
    out: Annotated[Path, typer.Option(help="The task file that is written.")],
    terms: Annotated[
        Path | None,
        typer.Option(help="What repositories need beyond what they declare (YAML; docs/software-engineering.md)."),
    ] = None,
    format: Annotated[Format | None, typer.Option(help="Of its rows, where they don't say it.")] = None,
) -> None:
    """Let published tasks run without containers: at commits of your clones, in environments made by pip.

    ROLLIN_REPOSITORIES names the folder of the clones. Tasks whose commit is not there are named and left out.
    """
    from rollin.tasks.native.converting import converted, read_terms
    from rollin.tasks.published.reading import Source, read

    chosen = choice_of({}).of(read(Source(str(file), True, format)), str(file))
    found = converted(chosen.tasks, read_terms(terms) if terms else {})
    lines = [*chosen.told(str(file), most=len(chosen.skipped))]
    lines += [f"{name}: {reason}" for name, reason in found.refused.items()]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    if not found.tasks:
        raise UserError(f"no task of {file} can run without a container: nothing was written")
    write_tasks(out, found.tasks)
    console.print(
        f"{out}: {len(found.tasks)} tasks, {len(found.refused)} left out", highlight=False, soft_wrap=True, markup=False
    )


@app.command("list", epilog="Example: `rollin tasks list tasks/*.jsonl`")
def list_tasks(files: TaskFiles) -> None:
    """What is in task files, a line for each task; and how many faults of which kind.

    `tests` have to pass, `lines` are the reference patch's, `turns` the scripted expert's (`rollin tasks measure`).
    """
    kinds: Counter[str] = Counter()
    heads = (Column("task", no_wrap=True), "split", "tests", "lines", "turns", Column("problem", no_wrap=True))
    table = Table(*heads, box=None, pad_edge=False)
    for path in files:
        for task in read_tasks(path):
            kinds.update(task.fault_kinds)
            statement = next(iter(task.problem_statement.strip().splitlines()), "")
            turns = "" if task.expert_turns is None else task.expert_turns
            hard = (len(task.FAIL_TO_PASS), changed_lines(task.patch), turns)
            name, problem = (escape(printable(each)) for each in (task.instance_id, statement))
            table.add_row(name, task.split.value, *map(str, hard), problem)
    console.print(table)
    console.print(f"{table.row_count} tasks; " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))


@app.command(epilog="Example: `rollin tasks show kata__cart-visible-0a1b2c3d tasks/*.jsonl`")
def show(
    instance_id: Annotated[str, typer.Argument(help="The task's id, or enough of its start.")], files: TaskFiles
) -> None:
    """One task in full: report, history, tests and the reference patch."""
    found = [task for path in files for task in read_tasks(path) if task.instance_id.startswith(instance_id)]
    found = [task for task in found if task.instance_id == instance_id] or found
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
    console.print(printable("\n".join(lines)), highlight=False, markup=False)


@app.command(epilog="Example: `rollin tasks measure tasks/package-semantic-eval.jsonl`")
def measure(
    files: TaskFiles,
    out: Annotated[Path, typer.Option(help="The run that holds the expert's trajectories.")] = Path("runs/measure"),
    concurrency: Annotated[int, typer.Option(help="Trajectories under way at once.", min=1)] = 8,
) -> None:
    """Let the scripted expert do every task alone, and write into the files how many turns it took.

    Stopped, the same command goes on.
    """
    from rollin.difficulty import measured
    from rollin.progress import ConsoleReporter

    tasks = one_each(task for path in files for task in read_tasks(path))
    found, rate = measured(tasks, out, ConsoleReporter(console), concurrency)
    for path in files:
        write_field(path, "expert_turns", found)
    turns = [each for each in found.values() if each is not None]
    taken = f", in {median(turns):.0f} turns (median)" if turns else ""
    console.print(f"resolved {rate}{taken}", highlight=False)


@app.command(epilog="Example: `rollin tasks validate tasks/kata-visible-eval.jsonl`")
def validate(
    files: TaskFiles,
    workers: Annotated[int, typer.Option(help="Sandboxes at work at once.", min=1)] = 2,
) -> None:
    """Grade every task without a patch, which has to fail, and with its reference patch, which has to resolve it.

    Ends with 1 where a task is not sound, else with 3 where one could not be checked.
    """
    tasks = [task for path in files for task in read_tasks(path)]
    verdicts = Counter[str]()
    with ThreadPoolExecutor(workers) as pool, Progress(console=console) as progress:
        bar = progress.add_task("validate", total=len(tasks))
        for task, (verdict, complaint) in zip(tasks, pool.map(_checked, tasks), strict=True):
            progress.advance(bar)
            verdicts[verdict] += 1
            if complaint:
                words = printable(f"{task.instance_id}: {complaint}")
                progress.console.print(words, highlight=False, markup=False, soft_wrap=True)
    left = f"; {verdicts[UNCHECKED]} could not be checked" if verdicts[UNCHECKED] else ""
    console.print(f"{verdicts[SOUND]} of {len(tasks)} tasks are sound{left}", highlight=False)
    raise typer.Exit(1 if verdicts[UNSOUND] else 3 if verdicts[UNCHECKED] else 0)


SOUND, UNSOUND, UNCHECKED = "sound", "unsound", "unchecked"


def _checked(task: Task) -> tuple[str, str]:
    """(verdict, why). A sandbox that fails, or a repository that can't be had, says nothing about a task."""
    from rollin.tasks.cache import cache_folder
    from rollin.tasks.grading import grade

    repositories = cache_folder() / "repositories"
    try:
        if grade(task, "", repositories).resolved:
            return UNSOUND, "it counts as resolved without any patch"
        found = grade(task, task.patch, repositories)
        return (SOUND, "") if found.resolved else (UNSOUND, f"the reference patch does not resolve it: {found.lacks}")
    except (InfrastructureFault, UserError) as error:
        return UNCHECKED, str(error).removeprefix(f"task {task.instance_id}").lstrip(": ")
