"""Which tasks of a source are wanted: by repository, id, size, part and number.

Choice     the wishes
Chosen     the tasks that are left, and why others are not
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rollin.errors import UserError
from rollin.tasks.overlap import at_same_commit, is_of, repository
from rollin.tasks.published.patches import changed_lines
from rollin.tasks.published.reading import Skipped, told
from rollin.tasks.schema import Task

SALT = "rollin-held-out"
"""Fixes which tasks are held out, on every machine and in every order."""


@dataclass
class Chosen:
    """What a choice left of a source."""

    tasks: list[Task] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    """Rows that are no task."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Why a task is not wanted -> how many."""

    def told(self, name: str, most: int = 10) -> list[str]:
        """What is to be said about it."""
        return told(name, self.skipped, most)


class Choice(BaseModel):
    """Which tasks of a file or a data set are taken; all if nothing is said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repos: list[str] = []
    """Only tasks of these repositories, such as `dask/dask`, or of their mirrors."""
    without_repos: list[str] = []
    """No tasks of these, nor of what may be one of them: a mirror, or a name alone that is the same."""
    ids: list[str] = []
    """Only these tasks, by `instance_id`."""
    without_ids: list[str] = []
    """Not these."""
    max_patch_lines: int | None = Field(default=None, ge=1)
    """Only tasks whose reference patch adds and removes at most so many lines, taken together."""
    held_out: int | None = Field(default=None, ge=1)
    """So many tasks of the whole set are held out: those whose ids have the smallest hashes, whatever their order, the
    seed and the other filters."""
    part: Literal["train", "held_out"] | None = None
    """Which of the two parts: what is held out, or the rest but for tasks at a commit where one is held out."""
    count: int | None = Field(default=None, ge=1)
    """The first so many of those that are left; all if left out."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.part is None) != (self.held_out is None):
            raise ValueError("part and held_out belong together, as in {held_out: 100, part: train}")
        return self

    def of(self, rows: Iterable[Task | Skipped], name: str) -> Chosen:
        """The tasks of a source that are wanted; no more of it is read than `count` needs. UserError where none is."""
        chosen = Chosen()
        candidates: Iterable[Task] = _tasks(rows, chosen)
        if self.held_out is not None:
            candidates = self._part([*candidates], chosen)
        missing = set(self.ids)
        for task in candidates:
            missing.discard(task.instance_id)
            if reason := self._against(task):
                chosen.left_out[reason] += 1
                continue
            chosen.tasks.append(task)
            if len(chosen.tasks) == self.count:
                break
        else:
            if missing:
                raise UserError(f"{name} has no task {min(missing)!r} (of `ids`); check the id, and its part")
        if not chosen.tasks:
            reasons = ", ".join(f"{count} {reason}" for reason, count in chosen.left_out.items())
            raise UserError(f"no task of {name} is left: {reasons}; ask for less")
        return chosen

    def _part(self, tasks: list[Task], chosen: Chosen) -> list[Task]:
        held = held_out([task.instance_id for task in tasks], self.held_out or 0)
        parts = [[task for task in tasks if (task.instance_id in held) is in_it] for in_it in (True, False)]
        taken = at_same_commit(*parts)
        kept = list[Task]()
        for task in tasks:
            if self.part == "held_out":
                reason = "" if task.instance_id in held else "in the other part"
            elif task.instance_id in held:
                reason = "in the other part"
            else:
                reason = "at a commit where a task is held out" if task.base_commit.lower() in taken else ""
            if reason:
                chosen.left_out[reason] += 1
            else:
                kept.append(task)
        return kept

    def _against(self, task: Task) -> str:
        """Why a task is not wanted, or ""."""
        if self.ids and task.instance_id not in self.ids:
            return "not in ids"
        if task.instance_id in self.without_ids:
            return "of without_ids"
        if self.repos and not {task.repo.lower(), repository(task)} & {*map(str.lower, self.repos)}:
            return "of other repositories"
        if is_of(task, self.without_repos):
            return "of without_repos"
        if self.max_patch_lines is not None and changed_lines(task.patch) > self.max_patch_lines:
            return f"with a patch of more than {self.max_patch_lines} lines"
        return ""


def choice_of(wishes: dict[str, object]) -> Choice:
    """A choice that options on a command line make. UserError for one that can't be."""
    try:
        return Choice.model_validate(wishes)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{place or 'the choice'}: {first['msg'].removeprefix('Value error, ').lower()}") from error


def held_out(ids: Iterable[str], count: int) -> set[str]:
    """Those `count` ids that are held out: a pure function of the set of ids. One id more or less moves one at most."""
    return set(sorted(set(ids), key=lambda name: hashlib.sha256(f"{SALT}\0{name}".encode()).digest())[:count])


def _tasks(rows: Iterable[Task | Skipped], chosen: Chosen) -> Iterator[Task]:
    for row in rows:
        if isinstance(row, Skipped):
            chosen.skipped.append(row)
        else:
            yield row
