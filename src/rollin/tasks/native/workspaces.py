"""The sandbox of a published task without a container."""

import re
from collections.abc import Mapping
from pathlib import Path

from rollin.errors import Unavailable, UserError
from rollin.sandboxes.base import Limits
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.sandboxes.surroundings import of_environment
from rollin.tasks.cache import cache_folder
from rollin.tasks.native.clones import check_commit, find_clone, template
from rollin.tasks.native.environments import EnvironmentSpec, environments
from rollin.tasks.schema import Task

_ORIGIN = re.compile(r"git:([^@]+)@([0-9a-f]{40})")


def open_native(
    task: Task, cache_dir: Path, limits: Limits, env: Mapping[str, str], shown: Mapping[str, Path]
) -> BubblewrapSandbox:
    """Ready when it returns. Unavailable, naming the task, where its repository or its environment can't be had."""
    try:
        spec = spec_of(task)
        check_commit(spec.clone, spec.commit)
        prepared = environments(cache_folder() / "environments").prepare(spec)
        repository = template(spec.clone, spec.commit, prepared.files, cache_dir / f"{spec.digest}.git")
    except Unavailable as fault:
        raise Unavailable(f"task {task.instance_id}: {fault}") from fault
    return BubblewrapSandbox(repository, limits, env, of_environment(prepared.folder), shown)


def spec_of(task: Task) -> EnvironmentSpec:
    """What the task wants. UserError for an origin that can't be read, Unavailable where there is no clone."""
    origin = _ORIGIN.fullmatch(task.pristine)
    if origin is None:
        raise UserError(
            f"task {task.instance_id}: pristine {task.pristine!r} is not git:<owner>/<name>@<the commit's full id>"
        )
    return EnvironmentSpec(origin[1], find_clone(origin[1]), origin[2], task.environment)
