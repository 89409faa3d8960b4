"""A published task as one that runs without a container.

Terms    what a repository's tasks need beyond what it declares: a file of the user's, by repository and version
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from rollin.errors import Unavailable, UserError
from rollin.files import read_text
from rollin.tasks.native.clones import check_commit, committed_on, find_clone
from rollin.tasks.native.environments import python_version
from rollin.tasks.schema import Environment, Task

RELEASED = {
    "3.8": date(2019, 10, 14),
    "3.9": date(2020, 10, 5),
    "3.10": date(2021, 10, 4),
    "3.11": date(2022, 10, 24),
    "3.12": date(2023, 10, 2),
    "3.13": date(2024, 10, 7),
    "3.14": date(2025, 10, 7),
}
"""When Pythons came out (peps.python.org). Older packages may not run there."""
SETTLED = timedelta(days=90)
"""In so much time most packages had learnt of a new Python."""
ANY_DATE = "any"


class Terms(Environment):
    """What the tasks of a repository need."""

    before: Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, date) else value)] = Field(
        default="", pattern=r"^(\d{4}-\d\d-\d\d|any)?$"
    )
    """As a task's; `any` for no limit. Left out: the day of the task's commit, or, if that is later, the day when its
    Python was 90 days old."""
    test_command: str = ""
    """Runs the tests that grade, instead of the data set's script; the test files are appended to it."""
    log_parser: str = ""
    """The name of the parser in `swebench` that reads what they print."""


@dataclass
class Converted:
    """What became of a file's tasks."""

    tasks: list[Task] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Instance id -> why it can't run without a container."""


def read_terms(path: Path) -> dict[str, Terms]:
    """A YAML file: `owner/name`, or `owner/name==version`, -> terms. UserError says what is wrong with it."""
    text = read_text(path, str(path))
    try:
        return TypeAdapter(dict[str, Terms]).validate_python(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML; write `owner/name: {{requirements: [...]}}`") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {place or 'the file'}: {first['msg'].lower()}") from error


def converted(tasks: Iterable[Task], terms: Mapping[str, Terms]) -> Converted:
    """Each task with its repository's terms, whose clone has to hold its commit. Nothing is built."""
    found = Converted()
    for task in tasks:
        try:
            found.tasks.append(_native(task, terms))
        except Unavailable as fault:
            found.refused[task.instance_id] = str(fault)
    return found


def _native(task: Task, terms: Mapping[str, Terms]) -> Task:
    if task.pristine and not task.native:
        raise Unavailable("it runs without a container already")
    if task.setup_patch:
        raise Unavailable("its fault is put into what an image holds, at a commit that it does not name")
    clone = find_clone(task.repo)
    check_commit(clone, task.base_commit)
    of = terms.get(f"{task.repo}=={task.version}") or terms.get(task.repo) or Terms()
    before = of.before or _old_enough(date.fromisoformat(committed_on(clone, task.base_commit)), of.python)
    wishes = of.model_dump(include={*Environment.model_fields}) | {"before": "" if before == ANY_DATE else before}
    changes: dict[str, object] = {
        "pristine": f"git:{task.repo}@{task.base_commit}",
        "environment": Environment.model_validate(wishes),
    }
    if of.test_command:
        changes |= {"test_command": of.test_command, "eval_script": ""}
    if of.log_parser:
        changes["log_parser"] = of.log_parser
    return task.model_copy(update=changes)


def _old_enough(committed: date, python: str) -> str:
    """The day by which a task's packages were on the index."""
    released = RELEASED.get(python_version(python))
    return max(committed, released + SETTLED if released else committed).isoformat()
