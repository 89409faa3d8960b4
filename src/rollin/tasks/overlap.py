"""Decontamination: what is trained on must not be what is evaluated on.

A task of ours belongs to a module, a published one to a repository, at a commit. The same module, instance or commit on
both sides is refused, always. The same repository is refused unless it is asked for: it is a weaker test, but a
published one (SWE-Gym's held-out part).
"""

import re
from collections.abc import Sequence
from typing import Literal

from rollin.errors import UserError
from rollin.tasks.schema import Task

Allowed = Literal["repositories"]
_MIRROR = re.compile(r"swesmith/(.+)__(.+)\.[0-9a-f]+", re.IGNORECASE)
"""SWE-smith's repositories are mirrors at one commit (swesmith/profiles/base.py)."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_apart(
    train: Sequence[Task], evaluation: Sequence[Task], allowed: Allowed | None = None, sides: str = "train and eval"
) -> None:
    """UserError for what is on both sides, which `sides` names."""
    if both := {task.module for task in train if task.module} & {task.module for task in evaluation if task.module}:
        raise UserError(f"tasks of {min(both)!r} are in both {sides}; split by module, or the result means nothing")
    if both := {task.instance_id.lower() for task in train} & {task.instance_id.lower() for task in evaluation}:
        raise UserError(f"the task {min(both)!r} is in both {sides}; leave it out of one, or the result means nothing")
    if both := commits(train) & commits(evaluation):
        raise UserError(f"tasks at the commit {min(both)} are in both {sides}; leave them out of one (without_ids)")
    if allowed is None and (both := _repositories(train, evaluation)):
        raise UserError(
            f"tasks of the repository {min(both)!r} are in both {sides}; leave it out of one (without_repos), or set"
            " tasks.allow_overlap to repositories if that is meant"
        )


def repository(task: Task) -> str:
    """`owner/name` in small letters; of a mirror, that of its origin. R2E-Gym's tasks have the name alone."""
    mirrored = _MIRROR.fullmatch(task.repo)
    return (f"{mirrored[1]}/{mirrored[2]}" if mirrored else task.repo).lower()


def commits(tasks: Sequence[Task]) -> set[str]:
    """Where published tasks begin, as far as that is said by a commit's id."""
    return {task.base_commit for task in tasks if not task.module and _COMMIT.fullmatch(task.base_commit)}


def _repositories(one: Sequence[Task], other: Sequence[Task]) -> set[str]:
    """Those on both sides. Where one side does not say whose a repository is (R2E-Gym, a package of PyPI), its name
    decides: to refuse one too many is the smaller mistake."""
    (full, bare), (other_full, other_bare) = _names(one), _names(other)
    last, other_last = ({name.rpartition("/")[2]: name for name in names} for names in (full, other_full))
    shared = (full & other_full) | (bare & other_bare)
    shared |= {last[name] for name in last.keys() & other_bare} | {
        other_last[name] for name in other_last.keys() & bare
    }
    return shared


def _names(tasks: Sequence[Task]) -> tuple[set[str], set[str]]:
    """(repositories with their owners, names whose owners are not known)."""
    packages = {task.module.lower() for task in tasks if task.module and task.repo.startswith("pypi/")}
    names = {repository(task) for task in tasks if not task.module}
    return {name for name in names if "/" in name}, packages | {name for name in names if "/" not in name} - {""}
