"""Virtual environments for published repositories, made once and kept in the cache.

An environment holds what a repository depends on, and of the repository itself the metadata alone: its name, version,
extras and commands. Its code is what the sandbox holds, which is found by a line in a .pth file. So one environment
serves every commit with the same metadata, and none can hold the repair of another.

To make one runs the repository's own build, outside a sandbox, as `pip install` of it would.

EnvironmentSpec  what an environment is for: a commit of a repository, and the wishes of its task
Prepared         one that is ready
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from filelock import FileLock

from rollin.errors import Unavailable
from rollin.sandboxes.init import WORKSPACE
from rollin.tasks.native import pip
from rollin.tasks.native.clones import checked_out
from rollin.tasks.native.declared import Wants, wants
from rollin.tasks.native.wheels import Parts, parts
from rollin.tasks.schema import Environment

log = logging.getLogger(__name__)

RUNNER = ("pytest", "setuptools")
"""What tests take for granted: SWE-bench's environments have both."""
LAYOUT = 1
"""Goes up when environments are made otherwise than before."""


@dataclass(frozen=True)
class EnvironmentSpec:
    """What an environment is for."""

    repo: str
    clone: Path
    commit: str
    wishes: Environment

    @property
    def digest(self) -> str:
        """Names it in the cache."""
        return _digest(LAYOUT, self.repo, self.commit, self.wishes.model_dump_json(), sys.version)


@dataclass(frozen=True)
class Prepared:
    """An environment that is ready."""

    folder: Path
    generated: Path
    """The files that the build adds to the repository, by their paths in it."""

    @property
    def files(self) -> dict[str, bytes]:
        """Their contents."""
        found = (path for path in sorted(self.generated.rglob("*")) if path.is_file())
        return {path.relative_to(self.generated).as_posix(): path.read_bytes() for path in found}


@dataclass(frozen=True)
class Tools:
    """What environments for a Python are made with."""

    python: str
    """The Python itself: a virtual environment of a virtual environment would be gone with that."""
    pip: str
    """One with pip that knows what is asked of it."""


class Environments:
    """The cache, in a folder. What can't be made is tried once in a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._failed = dict[str, str]()

    def prepare(self, spec: EnvironmentSpec) -> Prepared:
        """The environment, made if it isn't there: safe beside other threads and processes, and what was interrupted
        is made anew. Unavailable says why it can't be."""
        place = self.folder / "specs" / spec.digest
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if spec.digest in self._failed:
                raise Unavailable(self._failed[spec.digest])
            try:
                return self._found(place) or self._made(spec, place)
            except Unavailable as fault:
                self._failed[spec.digest] = str(fault)
                raise

    def _found(self, place: Path) -> Prepared | None:
        try:
            key = (place / "environment").read_text().strip()
        except FileNotFoundError:
            return None
        folder = self.folder / key
        return Prepared(folder, place / "generated") if (folder / "ready").exists() else None

    def _made(self, spec: EnvironmentSpec, place: Path) -> Prepared:
        log.info("making an environment for %s at %s", spec.repo, spec.commit[:12])
        record = place / "log"
        record.unlink(missing_ok=True)
        tools = self._tools(spec.wishes, record)
        with checked_out(spec.clone, spec.commit) as checkout, tempfile.TemporaryDirectory() as work:
            tracked = _tracked(checkout)
            command = [tools.pip, "-m", "pip", "wheel", "--no-deps", f"--wheel-dir={work}"]
            pip.run([*command, *pip.limits(spec.wishes.before), "."], record, cwd=checkout)
            (wheel,) = Path(work).glob("*.whl")
            built = parts(wheel, tracked)
            wanted = wants(checkout, built.extras, spec.wishes.declared)
            key = _digest(LAYOUT, tools, built.told, built.root, wanted, spec.wishes.model_dump_json())
            self._install(key, tools, wheel, built, wanted, spec.wishes, record)
        _write(place / "generated", built.generated)
        _keep(place / "environment", key)
        return Prepared(self.folder / key, place / "generated")

    def _tools(self, wishes: Environment, record: Path) -> Tools:
        python = _interpreter(wishes.python, record)
        kind = "dated" if wishes.before else "plain"
        folder = self.folder / f"pip-{kind}-{_digest(python, sys.version)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / "ready").exists():
                shutil.rmtree(folder, ignore_errors=True)
                pip.run([python, "-m", "venv", str(folder)], record)
                if wishes.before:
                    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--upgrade"]
                    pip.run([*command, f"pip>={pip.DATED}"], record)
                (folder / "ready").touch()
        return Tools(python, str(folder / "bin" / "python"))

    def _install(
        self, key: str, tools: Tools, wheel: Path, built: Parts, wanted: Wants, wishes: Environment, record: Path
    ) -> None:
        folder = self.folder / key
        with FileLock(f"{folder}.lock"), tempfile.TemporaryDirectory() as work:
            if (folder / "ready").exists():
                return
            shutil.rmtree(folder, ignore_errors=True)  # what a process that was killed left
            pip.run([tools.python, "-m", "venv", "--without-pip", str(folder)], record)
            extras = f"[{','.join(wanted.extras)}]" if wanted.extras else ""
            lines = Path(work) / "requirements.txt"
            itself = f"{built.name}{extras} @ {wheel.as_uri()}"
            lines.write_text("\n".join([itself, *RUNNER, *wanted.lines, *wishes.requirements, ""]))
            constraints = Path(work) / "constraints.txt"
            constraints.write_text("\n".join([*wanted.constraints, ""]))
            command = [tools.pip, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
            command += [f"--requirement={lines}", f"--constraint={constraints}"]
            pip.run([*command, *pip.limits(wishes.before)], record)
            _without_code(folder, built)
            (folder / "ready").touch()


@cache
def environments(folder: Path) -> Environments:
    """Those of a cache: one for the process."""
    return Environments(folder)


def python_version(wished: str) -> str:
    """The version that a wish comes to, such as `3.11`."""
    return wished or f"{sys.version_info.major}.{sys.version_info.minor}"


def _interpreter(version: str, record: Path) -> str:
    """The Python that was asked for, itself: what is on the PATH may be a script that finds one, and no sandbox shows
    that. rollin's own installation where none was asked for."""
    if not version:
        return os.path.realpath(sys.executable)
    found = shutil.which(f"python{version}")
    if not found:
        raise Unavailable(f"it wants Python {version}, and there is no python{version} on the PATH: install it")
    told = pip.run([found, "-c", "import sys; print(sys.base_prefix)"], record).strip()
    return os.path.realpath(Path(told) / "bin" / f"python{version}")


def _tracked(checkout: Path) -> frozenset[str]:
    """The repository's files, before anything is built in it."""
    found = (path for path in checkout.rglob("*") if path.is_file() or path.is_symlink())
    return frozenset(path.relative_to(checkout).as_posix() for path in found)


def _without_code(folder: Path, built: Parts) -> None:
    """Take the repository's own modules out of the environment again, and let Python find the sandbox's."""
    (packages,) = folder.glob("lib/python3*/site-packages")
    for distribution in importlib.metadata.distributions(name=built.name, path=[str(packages)]):
        for file in distribution.files or ():
            of_metadata = file.parts[0].endswith(".dist-info") and file.name != "direct_url.json"
            if file.parts[0] != ".." and not of_metadata:
                Path(str(distribution.locate_file(file))).unlink(missing_ok=True)
    (packages / "repository.pth").write_text(f"{WORKSPACE}/{built.root}".rstrip("/") + "\n")


def _write(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _keep(path: Path, content: str) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(f"{content}\n")
    part.replace(path)


def _digest(*parts_of: object) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in parts_of]).encode()).hexdigest()[:24]
