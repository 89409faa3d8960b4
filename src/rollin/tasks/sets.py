"""The tasks that a recipe names: built by rollin or read from files, never on both sides of the split."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from rollin.errors import UserError
from rollin.tasks.build import Order, build
from rollin.tasks.makers import MAKERS
from rollin.tasks.packages import OWN
from rollin.tasks.schema import Family, Split, Task, read_tasks


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


class FiledTasks(BaseModel):
    """Tasks of a JSONL file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    count: int | None = Field(default=None, ge=1)
    """The first so many; all if left out."""


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
    return "GymTasks" if content.get("source") == "gym" else "BuiltTasks"


TaskSet = Annotated[
    Annotated[BuiltTasks, Tag("BuiltTasks")]
    | Annotated[FiledTasks, Tag("FiledTasks")]
    | Annotated[GymTasks, Tag("GymTasks")],
    Discriminator(_kind),
]


class TaskSettings(BaseModel):
    """What is trained on and what is evaluated on. No module or package may occur in both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    """Decides which faults are put where."""
    train: list[TaskSet] = Field(min_length=1)
    eval: list[TaskSet] = Field(min_length=1)

    @property
    def count(self) -> int:
        """How many tasks are to be built."""
        return sum(s.count for s in (*self.train, *self.eval) if isinstance(s, BuiltTasks))


def load_tasks(
    settings: TaskSettings, cache_dir: Path, advance: Callable[[int], None]
) -> tuple[list[Task], list[Task]]:
    """(train, eval). `advance` hears of each task built. UserError for overlapping sides or too few tasks."""
    for task_set in (*settings.train, *settings.eval):
        if isinstance(task_set, FiledTasks):
            read_tasks(task_set.file)  # first: what can't be read is said before minutes of building
    train = _side(settings.train, Split.TRAIN, settings.seed, cache_dir, advance)
    evaluation = _side(settings.eval, Split.EVAL, settings.seed, cache_dir, advance)
    both = {task.module or task.repo for task in train} & {task.module or task.repo for task in evaluation}
    if both:
        raise UserError(
            f"tasks of {sorted(both)[0]!r} are in both train and eval; split by module, or the result means nothing"
        )
    return train, evaluation


def _side(
    sets: Sequence[TaskSet], split: Split, seed: int, cache_dir: Path, advance: Callable[[int], None]
) -> list[Task]:
    tasks: dict[str, Task] = {}
    for task_set in sets:
        for task in _tasks(task_set, split, seed, cache_dir, advance):
            tasks[task.instance_id] = task
    return list(tasks.values())


def _tasks(
    task_set: TaskSet, split: Split, seed: int, cache_dir: Path, advance: Callable[[int], None]
) -> Iterable[Task]:
    if isinstance(task_set, FiledTasks):
        return read_tasks(task_set.file)[: task_set.count]
    if isinstance(task_set, GymTasks):
        return task_set.tasks(split, seed)
    order = task_set.order(split, seed)
    built = build(order, cache_dir, advance=advance).tasks
    if len(built) < task_set.count:
        raise UserError(
            f"only {len(built)} of {task_set.count} tasks could be built for {order.file_name}; ask for fewer"
        )
    return built
