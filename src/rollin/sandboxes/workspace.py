"""The sandbox that fits a task: a container where an image holds its repository, bubblewrap where rollin makes it."""

import importlib.metadata
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rollin.errors import InfrastructureFault, UserError
from rollin.sandboxes.base import Limits, Sandbox
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.sandboxes.docker import DockerSandbox
from rollin.sandboxes.surroundings import of_rollin
from rollin.tasks.native.workspaces import open_native
from rollin.tasks.repository import materialise
from rollin.tasks.schema import Task

PYTEST_NEEDS = {"pytest", "pluggy", "iniconfig", "packaging", "pygments"}
"""Distributions that can't be hidden: without them no test runs."""


def open_workspace(
    task: Task,
    cache_dir: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    env: Mapping[str, str] | None = None,
    shown: Mapping[str, Path] = MappingProxyType({}),
) -> Sandbox:
    """A fresh sandbox for one attempt at `task`; `env` is what its commands see besides the sandbox's own variables,
    `shown` what files of the host, read-only.

    UserError where the task or this machine can't have one, Unavailable where its image, its repository or its
    environment can't be had.
    """
    if task.in_container:
        return _container(task, limits, env or {}, shown)
    if task.native:
        return open_native(task, cache_dir, limits, env or {}, shown)
    return BubblewrapSandbox(materialise(task, cache_dir), limits, env, of_rollin(_installed_copies(task)), shown)


def _container(task: Task, limits: Limits, env: Mapping[str, str], shown: Mapping[str, Path]) -> Sandbox:
    if shown:
        raise UserError(
            f"task {task.instance_id} runs in a container, which has no way to the gateway, and a harness of kind"
            " `command` needs one: use `mini_swe_agent`, or an agent of your own with `rollin serve`"
        )
    try:
        return DockerSandbox(task.image, task.base_commit, limits, env, task.setup_patch)
    except (UserError, InfrastructureFault) as error:
        raise type(error)(f"task {task.instance_id}: {error}") from error


def _installed_copies(task: Task) -> list[Path]:
    """Where the package of a `pypi:` task is installed on this machine too: an agent could copy the fix from there."""
    origin, _, requirement = task.pristine.partition(":")
    name = re.split(r"[=<>!~ ]", requirement)[0]
    if origin != "pypi" or name.lower() in PYTEST_NEEDS:
        return []
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return []
    tops = {file.parts[0] for file in distribution.files or [] if file.suffix == ".py"} - {".."}
    return sorted(Path(str(distribution.locate_file(top))) for top in tops)
