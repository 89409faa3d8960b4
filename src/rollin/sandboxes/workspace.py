"""The sandbox that fits a task: a container where an image holds its repository, bubblewrap where rollin makes it."""

import importlib.metadata
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from rollin.errors import InfrastructureFault, UserError
from rollin.sandboxes.base import Limits, Sandbox
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.sandboxes.docker import DockerSandbox
from rollin.sandboxes.surroundings import of_rollin, shown_archives, shown_packages
from rollin.tasks.native.workspaces import open_native
from rollin.tasks.repository import materialise
from rollin.tasks.schema import Task

PYTEST_NEEDS = {"pytest", "pluggy", "iniconfig", "packaging", "pygments"}
"""Distributions that can't be hidden: without them no test runs."""
VENDORED = ("pip/_vendor", "setuptools/_vendor", "pkg_resources/_vendor")
"""Where installers keep copies of other packages."""


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
    environment can't be had, or doesn't fit it.
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


def _installed_copies(task: Task) -> tuple[Path, ...]:
    """Where the package of a `pypi:` task lies on this machine too: an agent could copy the fix from there."""
    origin, _, requirement = task.pristine.partition(":")
    name = re.split(r"[=<>!~ ]", requirement)[0]
    return () if origin != "pypi" or name.lower() in PYTEST_NEEDS else copies_of(name)


@cache
def copies_of(name: str) -> tuple[Path, ...]:
    """A package's files in every folder of packages that a sandbox shows, installed or vendored, and archives."""
    places = [folder for place in shown_packages() for folder in (place, *(place / each for each in VENDORED))]
    modules = {re.sub(r"[-.]+", "_", name).lower()}  # what is vendored may be without metadata
    for distribution in importlib.metadata.distributions(name=name, path=[*map(str, places)]):
        modules |= _modules(distribution)
    forms = [form for module in modules for form in (module, f"{module}.*", f"__pycache__/{module}.*")]
    found = {path for place in places for form in forms for path in place.glob(form)}
    return (*sorted(found), *shown_archives())


def _modules(distribution: importlib.metadata.Distribution) -> set[str]:
    """What it lets import: by its files, or where a system's package has no list of them, by what it says."""
    listed = {file.parts[0].removesuffix(".py") for file in distribution.files or [] if file.suffix == ".py"}
    return (listed | {*(distribution.read_text("top_level.txt") or "").split()}) - {"..", ""}
