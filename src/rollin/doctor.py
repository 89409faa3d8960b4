"""What this machine has of what rollin needs, each with the cure where it is missing.

Check     one thing: whether it is all right, what was found, and what to do
checks    all of them; nothing here raises
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rollin.errors import InfrastructureFault, UserError
from rollin.tasks.cache import cache_folder

GIB = 1 << 30
NEEDED_MEMORY = 10 * GIB
"""What the quickstart held at its peak (docs/results, quickstart-eighteenth), and a few sandboxes."""
NEEDED_CACHE = 2 * GIB
NEEDED_RUNS = 4 * GIB
"""A few checkpoints of the quickstart's student."""
OPTIONAL = {"vllm": "serves students and teachers on GPUs", "ray": "spreads rollouts over machines"}


@dataclass(frozen=True)
class Check:
    """One thing that rollin needs, or could use."""

    name: str
    ok: bool
    """False only where something required is missing."""
    found: str
    cure: str = ""
    """What to do; empty where nothing needs doing."""


def checks(runs: Path = Path("runs")) -> list[Check]:
    """Everything, in the order in which one would mend it. `runs` is where runs will be written."""
    return [
        _python(),
        _git(),
        _guarded("sandbox", _sandbox),
        _guarded("sandbox's walls", _walls),
        _guarded("containers", _containers),
        _guarded("torch", _torch),
        *(_distribution(name) for name in ("transformers", "mini-swe-agent", "swebench")),
        _guarded("student", _packaged_model),
        _guarded("memory", _memory),
        _guarded(
            "disk for the cache", lambda: _disk("disk for the cache", cache_folder(), NEEDED_CACHE, "ROLLIN_CACHE")
        ),
        _guarded("disk for runs", lambda: _disk("disk for runs", runs, NEEDED_RUNS, "--out")),
        *(_extra(name, use) for name, use in OPTIONAL.items()),
    ]


def render(found: list[Check], console: Console) -> None:
    """A line each, and what to do about those that aren't all right."""
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    for check in found:
        mark = Text("ok", "green") if check.ok else Text("missing", "bold red")
        table.add_row(mark, Text(check.name), Text(check.found))
    console.print(table)
    for check in found:
        if check.cure:
            console.print(Text.assemble((f"{check.name}: ", "bold"), check.cure), soft_wrap=True)
    if all(check.ok for check in found):
        console.print("Everything that rollin needs is here.")


def exit_code(found: list[Check]) -> int:
    """0 if nothing required is missing, else 1."""
    return 0 if all(check.ok for check in found) else 1


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """A doctor that falls over tells nothing: whatever goes wrong is a finding."""
    try:
        return check()
    except (UserError, InfrastructureFault) as error:
        return Check(name, False, "does not work", str(error))
    except Exception as error:  # a broken installation can raise anything at import
        return Check(name, False, f"{type(error).__name__}: {error}", "install rollin again in a fresh environment")


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check("Python", ok, sys.version.split()[0], "" if ok else "use Python 3.11 or newer")


def _git() -> Check:
    cure = "install git, with `apt-get install -y git` or your system's own way"
    if shutil.which("git") is None:
        return Check("git", False, "not found", cure)
    outcome = subprocess.run(["git", "--version"], capture_output=True, text=True)
    working = outcome.returncode == 0
    return Check("git", working, outcome.stdout.strip().removeprefix("git version "), "" if working else cure)


def _sandbox() -> Check:
    """A sandbox is started on a repository of one file and asked to show it."""
    from rollin.sandboxes.bubblewrap import BubblewrapSandbox, check
    from rollin.tasks.repository import build_repository

    check()  # what it says about a missing or forbidden bubblewrap is better than what a failed start could
    version = subprocess.run(["bwrap", "--version"], capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        template, _ = build_repository({"hello": b"hello\n"}, [], Path(folder))
        with BubblewrapSandbox(template) as sandbox:
            result = sandbox.run("cat hello")
    if result.output.strip() != "hello":
        return Check("sandbox", False, f"{version}: answered {result.output.strip()[:200]!r}", "update bubblewrap")
    return Check("sandbox", True, f"{version}, a command in it took {1000 * result.seconds:.0f} ms")


def _walls() -> Check:
    """Which protections are in force depends on who runs rollin, and on what machine."""
    from rollin.sandboxes.bubblewrap import check
    from rollin.sandboxes.groups import home
    from rollin.sandboxes.walls import protections

    held, missing = protections(user_namespace=check())
    without = f"; without {', '.join(missing)}" if missing else ""
    given = home() or os.geteuid() == 0
    cure = "" if given else "start rollin by `systemd-run --user --scope`, so that it may make control groups"
    return Check("sandbox's walls", True, f"with {', '.join(held)}{without}", cure)


def _containers() -> Check:
    """Wanted by published tasks alone. Whether one would start is not tried: there may be no image."""
    from rollin.sandboxes.engine import engine

    try:
        found = engine()
    except (UserError, InfrastructureFault) as error:
        return Check("containers", True, f"none (optional: published tasks run in them): {error}")
    controls = found.controls
    groups = f"control groups v{controls.groups}" if controls.groups else "no control groups"
    if not controls.missing:
        return Check(
            "containers", True, f"{found.name} {controls.version}, {groups}: memory, processes and CPU are limited"
        )
    cure = "run the engine where it has control groups v2 with the memory, pids and cpu controllers"
    lacking = ", ".join(controls.missing)
    return Check("containers", True, f"{found.name} {controls.version}, {groups}: no limit of {lacking}", cure)


def _torch() -> Check:
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        device = f"{torch.cuda.device_count()} x {properties.name}, {properties.total_memory / GIB:.0f} GiB"
    else:
        device = f"CPU, {torch.get_num_threads()} threads"
    return Check("torch", True, f"{torch.__version__}, {device}")


def _distribution(name: str) -> Check:
    try:
        return Check(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", f"run `pip install {name}`, or install rollin again")


def _packaged_model() -> Check:
    from rollin.models import PACKAGED, locate

    folder, file = locate(PACKAGED)
    size = (Path(folder) / str(file)).stat().st_size
    return Check("student", True, f"{PACKAGED}, {size / (1 << 20):.0f} MiB")


def available_memory() -> float:
    """Bytes: what is free, or what the control group allows if that is less."""
    return min(float(psutil.virtual_memory().available), _group_limit(Path("/sys/fs/cgroup/memory.max")))


def _memory() -> Check:
    available = available_memory()
    ok = available >= NEEDED_MEMORY
    cure = f"free some: the quickstart wants {NEEDED_MEMORY / GIB:.0f} GiB; or lower `concurrency`"
    return Check("memory", ok, f"{available / GIB:.1f} GiB available", "" if ok else cure)


def _group_limit(limit: Path) -> float:
    """Bytes; infinite where there is no limit."""
    text = limit.read_text().strip() if limit.is_file() else "max"
    return float("inf") if text == "max" else float(text)


def _disk(name: str, folder: Path, needed: int, setting: str) -> Check:
    """Free space where `folder` is, or will be made."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        return Check(name, False, f"{existing} cannot be written", f"point {setting} at a folder of your own")
    ok = free >= needed
    cure = f"make room in {existing}, or point {setting} elsewhere: {needed / GIB:.0f} GiB are wanted"
    return Check(name, ok, f"{free / GIB:.1f} GiB free in {folder}", "" if ok else cure)


def _extra(name: str, use: str) -> Check:
    if importlib.util.find_spec(name) is None:
        return Check(name, True, f"not installed (optional: {use})")
    return Check(name, True, importlib.metadata.version(name))
