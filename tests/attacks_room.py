"""Where the attacks are tried: every kind of sandbox that works here."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from attack_table import CONTAINER, ORDINARY, ROOT
from container_room import build, found_engine

import rollin
from rollin.errors import UserError
from rollin.sandboxes import bubblewrap, groups
from rollin.sandboxes.base import Limits, Sandbox
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.sandboxes.docker import DockerSandbox
from rollin.tasks.repository import build_repository

SMALL = Limits(seconds=20, memory_mb=256, processes=40, output_kb=8, disk_mb=32)
FILES = {
    "module.py": b"VALUE = 1\n",
    "test_module.py": b"import module\n\n\ndef test_value():\n    assert module.VALUE\n",
}
NOBODY = 65534


@dataclass(frozen=True)
class Backend:
    """A kind of sandbox on one repository."""

    name: str
    open: Callable[[Limits, Mapping[str, str]], Sandbox]
    template: Path | None = None
    """What all of its sandboxes share on the host."""


@contextmanager
def backend(name: str) -> Iterator[Backend]:
    """Skips the test where this machine hasn't got it."""
    if name == CONTAINER:
        with _containers() as made:
            yield made
        return
    with tempfile.TemporaryDirectory(prefix="rollin-attacks-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)  # another user reads the template
        _become(name, Path(folder), patch)
        template, _ = build_repository(FILES, [], Path(folder) / "cache")
        (Path(folder) / "cache").chmod(0o755)
        yield Backend(name, lambda limits, env: BubblewrapSandbox(template, limits, env), template)


def _become(name: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    bubblewrap.check.cache_clear()
    try:
        user_namespace = bubblewrap.check()
    except UserError as error:
        pytest.skip(str(error))
    if user_namespace == (name == ORDINARY) and (os.geteuid() != 0 or name == ROOT):
        return
    if name == ROOT:
        pytest.skip("bubblewrap works in a user namespace only")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing, by which root becomes an ordinary user")
    _as_nobody(folder)
    patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    patch.setattr(bubblewrap, "check", lambda: True)
    patch.setattr(groups, "home", lambda: None)  # which belong to root
    words = ["bwrap", "--unshare-user", "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-pid", sys.executable, "-V"]
    tried = subprocess.run(words, capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"an ordinary user can't run bubblewrap here: {tried.stderr.strip()}")


def _as_nobody(folder: Path) -> None:
    """A `bwrap` that becomes an ordinary user first. What lies in a folder that root alone may enter (root's home, with
    Python in it) is shown to it in a mount namespace of its own."""
    needed = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1], _code()}
    lines = ["set -e"]
    for closed in {_closed(path) for path in needed} - {None}:
        inside = sorted(path for path in needed if path.is_relative_to(closed or "/"))
        lines.append("mount -t tmpfs none /mnt")
        for number, path in enumerate(inside):
            lines += [f"mkdir /mnt/{number}", f"mount --bind '{path}' /mnt/{number}"]
        lines.append(f"mount -t tmpfs -o mode=755 none '{closed}'")
        for number, path in enumerate(inside):
            lines += [f"mkdir -p '{path}'", f"mount --bind /mnt/{number} '{path}'"]
    real = shutil.which("bwrap")
    lines.append(f'exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {real} "$@"')
    (folder / "inner").write_text("\n".join(lines) + "\n")
    (folder / "bwrap").write_text(f'#!/bin/sh\nexec unshare --mount sh {folder}/inner "$@"\n')
    (folder / "bwrap").chmod(0o755)


def _code() -> Path:
    assert rollin.__file__ is not None
    return Path(rollin.__file__).parents[1]


def _closed(path: Path) -> Path | None:
    """The outermost folder on the way that other users may not pass."""
    return next((each for each in reversed(path.parents) if not each.stat().st_mode & 0o001), None)


@contextmanager
def _containers() -> Iterator[Backend]:
    engine = found_engine()
    if isinstance(engine, str):
        pytest.skip(f"no container engine works here: {engine}")
    name = f"rollin-attacks:{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        made = build(engine, Path(folder), name)
    yield Backend(CONTAINER, lambda limits, env: DockerSandbox(made.image, made.base, limits, env))
    engine.call("rmi", "--force", name)


def processes_with(mark: str) -> list[int]:
    """Those of the host that have it in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it ended, or is another user's
            continue
    return found


def mounts() -> int:
    return len(Path("/proc/self/mountinfo").read_text().splitlines())
