"""Decontamination: what is trained on must not be what is evaluated on.

A task of ours belongs to a module, a published one to a repository, at a commit. The same module, archive, instance or
commit on both sides is refused, always. The same repository is refused unless it is asked for: it is a weaker test, but
a published one (SWE-Gym's held-out part).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from packaging.utils import canonicalize_name

from rollin.errors import UserError
from rollin.tasks.schema import Task

Allowed = Literal["repositories"]
_MIRROR = re.compile(r"swesmith/(.+)__(.+)\.[0-9a-f]+", re.IGNORECASE)
"""SWE-smith's repositories are mirrors at one commit (swesmith/profiles/base.py)."""
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_ARCHIVE = re.compile(r"#sha256=([0-9a-f]{64})")
"""Of a package, in `Task.pristine`."""
_Names = tuple[set[str], set[str]]
"""(repositories with their owners, names whose owners are not known)."""


def check_apart(
    train: Sequence[Task], evaluation: Sequence[Task], allowed: Allowed | None = None, sides: str = "train and eval"
) -> None:
    """UserError for what is on both sides, which `sides` names."""
    if both := _modules(train) & _modules(evaluation):
        raise UserError(f"tasks of {min(both)!r} are in both {sides}; split by module, or the result means nothing")
    if both := _archives(train) & _archives(evaluation):
        raise UserError(f"tasks of one archive (sha256 {min(both)}) are in both {sides}, by other names; leave one out")
    if both := {task.instance_id.lower() for task in train} & {task.instance_id.lower() for task in evaluation}:
        raise UserError(f"the task {min(both)!r} is in both {sides}; leave it out of one, or the result means nothing")
    if both := at_same_commit(train, evaluation):
        raise UserError(f"tasks at the commit {min(both)} are in both {sides}; leave them out of one (without_ids)")
    if allowed is None and (both := _shared(_names(train), _names(evaluation))):
        raise UserError(
            f"tasks of the repository {min(both)!r} are in both {sides}; leave it out of one (without_repos), or set"
            " tasks.allow_overlap to repositories if that is meant"
        )


def repository(task: Task) -> str:
    """`owner/name` in small letters; of a mirror, that of its origin. R2E-Gym's tasks have the name alone."""
    mirrored = _MIRROR.fullmatch(task.repo)
    return (f"{mirrored[1]}/{mirrored[2]}" if mirrored else task.repo).lower()


def is_of(task: Task, repositories: Iterable[str]) -> bool:
    """Whether one of these is the task's repository, as `check_apart` tells them apart."""
    names = {name.lower() for name in repositories}
    return task.repo.lower() in names or bool(_shared(_names([task]), _told_apart(names)))


def at_same_commit(one: Sequence[Task], other: Sequence[Task]) -> set[str]:
    """Where published tasks of both begin, in small letters and as each says it: in full, or only a commit's start."""
    ids, other_ids = _commits(one), _commits(other)
    return _beginning(ids, other_ids) | _beginning(other_ids, ids)


def _commits(tasks: Sequence[Task]) -> set[str]:
    named = {task.base_commit.lower() for task in tasks if not task.module}
    return {commit for commit in named if _COMMIT.fullmatch(commit)}


def _beginning(ids: set[str], starts: set[str]) -> set[str]:
    """Both of each pair of an id and its start."""
    lengths = {len(start) for start in starts}
    pairs = ((commit, commit[:length]) for commit in ids for length in lengths)
    return {each for pair in pairs if pair[1] in starts for each in pair}


def _modules(tasks: Sequence[Task]) -> set[str]:
    """As PyPI spells packages: `my_pkg` and `My.Pkg` are `my-pkg`."""
    return {canonicalize_name(task.module) for task in tasks if task.module}


def _archives(tasks: Sequence[Task]) -> set[str]:
    return {found[1] for task in tasks if (found := _ARCHIVE.search(task.pristine))}


def _shared(one: _Names, other: _Names) -> set[str]:
    """Repositories of both. Where one side does not say whose a repository is (R2E-Gym, a package of PyPI), its name
    decides: to refuse one too many is the smaller mistake."""
    (full, bare), (other_full, other_bare) = one, other
    last, other_last = (
        {canonicalize_name(name.split("/")[-1]): name for name in names} for names in (full, other_full)
    )
    shared = (full & other_full) | (bare & other_bare)
    shared |= {last[name] for name in last.keys() & other_bare} | {
        other_last[name] for name in other_last.keys() & bare
    }
    return shared


def _names(tasks: Sequence[Task]) -> _Names:
    packages = {task.module for task in tasks if task.module and task.repo.startswith("pypi/")}
    return _told_apart(packages | {repository(task) for task in tasks if not task.module} - {""})


def _told_apart(names: set[str]) -> _Names:
    return {name for name in names if "/" in name}, {canonicalize_name(name) for name in names if "/" not in name}
