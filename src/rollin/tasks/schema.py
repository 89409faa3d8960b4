"""A task in SWE-bench's schema, and the files of tasks.

Task           one problem: a repository at a commit, a bug report, the reference patch, the tests that decide
Commit         one commit of the repository's history: a subject and the files it writes
Environment    the Python environment of a published task that runs without a container
Family         what kind of fault a task holds: visible, regression or semantic
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError

from rollin.errors import UserError
from rollin.files import write_text
from rollin.tasks.git import can_hold


class Family(StrEnum):
    """What kind of fault a task holds; results are always reported by family."""

    VISIBLE = "visible"
    """The fault's place shows on the screen of the one who looks."""
    REGRESSION = "regression"
    """One commit of the history broke a test; later commits have to stay."""
    SEMANTIC = "semantic"
    """A syntax-tree mutation that only a failing assertion reveals."""
    OTHER = "other"
    """Tasks that others made (SWE-bench, SWE-Gym)."""


class Split(StrEnum):
    """Where a task may be used. No module or package occurs on both sides."""

    TRAIN = "train"
    EVAL = "eval"


def _test_ids(value: object) -> object:
    """SWE-bench's hub files hold the test ids as JSON text in a string, its tools use lists; both are read."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


TestIds = Annotated[list[str], BeforeValidator(_test_ids)]


def _path(value: str) -> str:
    if not can_hold(value):
        raise ValueError(f"{value!r} is no path in a repository, such as src/cart.py")
    return value


class Commit(BaseModel):
    """One commit of a task's repository. `files` maps a path to its new text; None deletes it."""

    model_config = ConfigDict(frozen=True)

    subject: str
    files: dict[Annotated[str, AfterValidator(_path)], str | None]


class Environment(BaseModel):
    """What a published task runs in where it has no container: a virtual environment, made by pip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str = Field(default="", pattern=r"^(3\.\d+)?$")
    """The version, such as `3.9`: `python3.9` has to be on the PATH. rollin's own if left out."""
    declared: list[str] | None = None
    """What is installed of what the repository declares besides its dependencies: an extra, as `[test]`, or a file, as
    `requirements/tests.txt`. Those that are for tests if left out, nothing with `[]`."""
    requirements: list[str] = []
    """Further lines of a requirements file, pins among them: `werkzeug<2.1`."""
    before: str = Field(default="", pattern=r"^(\d{4}-\d\d-\d\d)?$")
    """A date: packages are those that were on the index by then."""


class Task(BaseModel):
    """One problem. Fields in SWE-bench's names come first; the others say how rollin makes the repository."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    instance_id: str
    repo: str
    """`kata/<name>`, `pypi/<package>`, or a GitHub `owner/name`."""
    base_commit: str
    """The commit the agent starts from (HEAD of `main`)."""
    problem_statement: str
    patch: str
    """The reference patch against `base_commit`, a unified diff."""
    test_patch: str = ""
    FAIL_TO_PASS: TestIds
    PASS_TO_PASS: TestIds
    version: str = ""
    hints_text: str = ""
    created_at: str = ""
    environment_setup_commit: str = ""

    source: str = "other"
    """`kata`, `package`, `gym`, or the published data set."""
    family: Family = Family.OTHER
    split: Split = Split.EVAL
    module: str = ""
    """The unit of splitting: the kata or the package."""
    fault_kinds: list[str] = []
    """The kinds of fault inside, such as `misspelled_name`. Never shown to an agent."""
    expert_turns: int | None = None
    """How many turns the scripted expert took alone, where it was measured and resolved the task."""
    test_command: str = "python -m pytest -rA"
    """Runs the tests that grade; `test_files` are appended to it."""
    test_files: list[str] = []
    """Put back from the task before grading, whatever the agent did to them."""
    pristine: str = ""
    """Where the first commit's files come from: `kata:<name>`, or `pypi:<package>==<version>#sha256=<hash>`. Of a
    published task without a container, where its history does: `git:<owner>/<name>@<commit>`."""
    history: list[Commit] = []
    """Commits on top of the pristine files. The last one is `base_commit`."""
    image: str = ""
    """The container image that holds the repository, installed, in /testbed: tasks of published data sets have one."""
    setup_patch: str = ""
    """Applied to the image's repository before the agent sees it, which then has no history: a fault put into it."""
    eval_script: str = ""
    """SWE-bench's: puts the tests back, runs them, and marks where their output begins and ends. Without it,
    `test_command` runs `test_files`."""
    log_parser: str = ""
    """The name of the parser in `swebench` that reads that output; pytest's if left out."""
    eval_type: str = ""
    """SWE-bench's: `fail_only` where tests that passed are not reported; `pass_and_fail` if left out."""

    environment: Environment = Environment()
    """What a task whose `pristine` is `git:` runs in."""

    @property
    def in_container(self) -> bool:
        """Whether an image holds its repository, instead of rollin making it."""
        return bool(self.image) and not self.pristine

    @property
    def native(self) -> bool:
        """Whether it is a published task that runs without a container."""
        return self.pristine.startswith("git:")

    @property
    def published(self) -> bool:
        """Whether others made it: SWE-bench's rules grade it, and its tests need limits of their own."""
        return self.in_container or self.native

    @classmethod
    def bare(cls, instance_id: str, /, **more: object) -> Self:
        """One that so far has nothing to repair and no tests: `more` fills in what there is."""
        blank = {"repo": "", "base_commit": "", "problem_statement": "", "patch": ""}
        return cls.model_validate({**blank, "FAIL_TO_PASS": [], "PASS_TO_PASS": [], **more, "instance_id": instance_id})


def one_each(tasks: Iterable[Task]) -> list[Task]:
    """The tasks, those that are named twice once. UserError where two with one id differ."""
    known: dict[str, Task] = {}
    for task in tasks:
        if known.setdefault(task.instance_id, task) != task:
            raise UserError(
                f"two tasks have the id {task.instance_id} and differ: leave one out, or give it another id"
            )
    return [*known.values()]


def read_tasks(path: Path) -> list[Task]:
    """Tasks of a JSONL file, in its order. UserError names the line of what can't be read."""
    tasks = [parse_task(content, f"{path}, line {number}") for number, content in json_lines(path)]
    if not tasks:
        raise UserError(f"the task file {path} holds no task; check the path")
    return tasks


def json_lines(path: Path) -> Iterator[tuple[int, object]]:
    """(number, what it holds) of each line that is not empty. UserError names what can't be read."""
    try:
        # Only "\n" ends a line: JSON may hold what Python takes for other ends.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, json.loads(line)
    except OSError as error:
        raise UserError(f"cannot read the task file {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the task file {path} is not text in UTF-8; give a JSONL file") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {number}: not JSON ({error.msg}); write one JSON object a line") from error
    except ValueError as error:
        raise UserError(f"{path}, line {number}: a number is too long for Python; mend the line") from error
    except RecursionError as error:
        raise UserError(f"{path}, line {number}: nested too deeply; write one task a line") from error


def parse_task(content: object, where: str) -> Task:
    """A task of its fields. UserError says where, and names the field."""
    if not isinstance(content, dict):
        raise UserError(f"{where}: not a JSON object; write one task a line")
    try:
        task = Task.model_validate(content)
        task.model_dump_json()
    except PydanticSerializationError as error:  # JSON can spell half a surrogate pair, which no file takes
        raise UserError(f"{where}: it holds a character that no file takes (half a surrogate pair); mend it") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: field {field!r}: {first['msg'].lower()}") from error
    return task


def write_tasks(path: Path, tasks: Iterable[Task]) -> None:
    """One JSON object a line; all of them, or the file stays as it was. UserError where it can't be written."""
    write_text(path, "".join(task.model_dump_json() + "\n" for task in tasks), "the task file")


def write_field(path: Path, name: str, values: Mapping[str, object]) -> None:
    """Set one field of a file's tasks, by their ids; whatever else its lines hold, they keep."""
    lines = [content for _, content in json_lines(path) if isinstance(content, dict)]
    changed = [line | {name: values[line["instance_id"]]} for line in lines]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in changed), "the task file")
