"""The tasks that a recipe names: built by rollin or read from files, never on both sides of the split."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from rollin.errors import UserError
from rollin.tasks.build import Order, build
from rollin.tasks.choosing import Choice
from rollin.tasks.makers import MAKERS
from rollin.tasks.overlap import Allowed, check_apart
from rollin.tasks.packages import OWN
from rollin.tasks.published.catalogue import Format, known_or_refused
from rollin.tasks.published.reading import Source, read
from rollin.tasks.schema import Family, Split, Task, one_each


class BuiltTasks(BaseModel):
    """Tasks that rollin builds (see `rollin tasks build`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["kata", "package"]
    family: Family
    count: int = Field(ge=1)
    faults: int | None = Field(default=None, ge=1, le=4)
    """Faults in each task; left out, one to three in the visible family, one in the semantic. More repairs in a
    trajectory are more to learn from its tokens."""
    kinds: list[str] = []
    """Only faults of these kinds (`rollin tasks list` counts them); all if left out."""
    folders: bool = False
    """Each kata lies in a folder of its repository, another one in each task, lest paths be learnt by heart."""
    spread: bool = False
    """The faults of a task lie in several files; of packages only."""
    catalogue: Path | None = None
    """Packages to take, as `rollin tasks scout` found them; rollin's own if left out."""

    @model_validator(mode="after")
    def _possible(self) -> "BuiltTasks":
        if self.faults and self.family is Family.REGRESSION:
            raise ValueError("faults can't be set for the regression family; its tasks hold one")
        if self.spread and (self.source != "package" or self.family is Family.REGRESSION):
            raise ValueError("spread is for visible and semantic faults in packages; a kata is one file")
        if self.spread and self.faults == 1:
            raise ValueError("one fault can't be spread over several files; set faults to 2 or more")
        if self.folders and self.source != "kata":
            raise ValueError("folders can be set for katas only; a package's modules lie where they lie")
        known = MAKERS[self.family][1]
        for kind in self.kinds:
            if kind not in known:
                raise ValueError(f"{kind!r} is no kind of {self.family.value} fault; those are {', '.join(known)}")
        return self

    def order(self, split: Split, seed: int) -> Order:
        """What is to be built for one side."""
        what = (self.source, self.family, split, self.count, seed)
        return Order(*what, self.faults, tuple(self.kinds), self.folders, self.spread, self.catalogue or OWN)


class FiledTasks(Choice):
    """Tasks of a file."""

    file: Path
    """JSONL or Parquet: tasks as `rollin tasks` writes them, or rows of a published data set."""
    format: Format | None = None
    """Of the rows; told by their columns if left out."""

    @property
    def source(self) -> Source:
        """Where the rows are."""
        return Source(str(self.file), is_file=True, format=self.format)


class PublishedTasks(Choice):
    """Tasks of a data set on the Hugging Face hub (docs/software-engineering.md)."""

    dataset: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    """Its name there, such as `SWE-Gym/SWE-Gym`."""
    split: str | None = None
    """`test` of SWE-bench, `train` of the others, if left out."""
    revision: str | None = None
    """A commit, branch or tag of the data set. Pin one: a data set changes."""
    format: Format | None = None
    """Of the rows; wanted for a data set that rollin does not know by name."""

    @model_validator(mode="after")
    def _is_known(self) -> "PublishedTasks":
        if self.format is None:
            try:
                known_or_refused(self.dataset)
            except UserError as error:
                raise ValueError(str(error)) from error
        return self

    @property
    def source(self) -> Source:
        """Where the rows are."""
        return Source(self.dataset, False, self.format, self.split, self.revision)


class GymTasks(BaseModel):
    """Episodes of a gym-like environment, told apart by their seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["gym"]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Of the environment; part of the tasks' names, which the seeds come from."""
    count: int = Field(ge=1)
    """How many episodes."""

    def tasks(self, split: Split, seed: int) -> list[Task]:
        """Other ones on each side of the split."""
        same = {"repo": f"gym/{self.name}", "source": "gym", "split": split, "module": f"{self.name}-{split}"}
        return [Task.bare(f"{self.name}-{split}-{seed}-{number}", **same) for number in range(self.count)]


def _kind(content: Any) -> str:
    """Which of them is meant, so that a complaint is about that one."""
    if not isinstance(content, dict):
        return type(content).__name__
    if "file" in content:
        return "FiledTasks"
    if "dataset" in content:
        return "PublishedTasks"
    return "GymTasks" if content.get("source") == "gym" else "BuiltTasks"


TaskSet = Annotated[
    Annotated[BuiltTasks, Tag("BuiltTasks")]
    | Annotated[FiledTasks, Tag("FiledTasks")]
    | Annotated[PublishedTasks, Tag("PublishedTasks")]
    | Annotated[GymTasks, Tag("GymTasks")],
    Discriminator(_kind),
]


class TaskSettings(BaseModel):
    """What is trained on and what is evaluated on. No module, instance, commit or repository may occur in both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    """Decides which faults are put where."""
    train: list[TaskSet] = Field(min_length=1)
    eval: list[TaskSet] = Field(min_length=1)
    allow_overlap: Allowed | None = None
    """`repositories`: published tasks of the same repositories may be on both sides, as in SWE-Gym's held-out part. The
    same instance, commit or module never may."""

    @property
    def count(self) -> int:
        """How many tasks are to be built."""
        return sum(s.count for s in (*self.train, *self.eval) if isinstance(s, BuiltTasks))

    def to_measure(self) -> "TaskSettings":
        """What is needed to measure on the eval tasks. The training tasks only show that the sides are apart, and those
        that are built always are."""
        built = all(isinstance(each, BuiltTasks) for each in (*self.train, *self.eval))
        return self.model_copy(update={"train": []}) if built else self


def load_tasks(
    settings: TaskSettings, cache_dir: Path, advance: Callable[[int], None], say: Callable[[str], None]
) -> tuple[list[Task], list[Task]]:
    """(train, eval). `advance` hears of each task built, `say` of rows that were skipped. UserError for overlapping
    sides or too few tasks."""
    sides = {Split.TRAIN: settings.train, Split.EVAL: settings.eval}
    said = set[str]()
    # First: what can't be read is said before minutes of building.
    given = {split: [_given(task_set, say, said) for task_set in sets] for split, sets in sides.items()}

    def side(split: Split) -> list[Task]:
        tasks = list[Task]()
        for task_set, found in zip(sides[split], given[split], strict=True):
            tasks += _made(task_set, split, settings.seed, cache_dir, advance) if found is None else found
        each = one_each(tasks)
        if twice := len(tasks) - len(each):
            say(f"{twice} of the tasks under `{split.value}` are named twice; they count once")
        return each

    train, evaluation = side(Split.TRAIN), side(Split.EVAL)
    check_apart(train, evaluation, settings.allow_overlap)
    return train, evaluation


def _given(task_set: TaskSet, say: Callable[[str], None], said: set[str]) -> list[Task] | None:
    """The tasks of a set that is read; None for one that is made."""
    if not isinstance(task_set, FiledTasks | PublishedTasks):
        return None
    source = task_set.source
    chosen = task_set.of(read(source), source.name)
    lines = chosen.told(source.name)
    if task_set.count and len(chosen.tasks) < task_set.count:
        lines.append(f"{source.name}: only {len(chosen.tasks)} of {task_set.count} tasks are there")
    for line in lines:
        if line not in said:  # both sides may read the same source
            say(line)
        said.add(line)
    return chosen.tasks


def _made(
    task_set: TaskSet, split: Split, seed: int, cache_dir: Path, advance: Callable[[int], None]
) -> Iterable[Task]:
    if isinstance(task_set, GymTasks):
        return task_set.tasks(split, seed)
    assert isinstance(task_set, BuiltTasks)
    order = task_set.order(split, seed)
    built = build(order, cache_dir, advance=advance).tasks
    if len(built) < task_set.count:
        raise UserError(
            f"only {len(built)} of {task_set.count} tasks could be built for {order.file_name}; ask for fewer"
        )
    return built
