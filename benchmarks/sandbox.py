"""Sandbox start and command latency, against a full copy of the repository with a fresh bwrap for it.

python benchmarks/sandbox.py [repetitions]
"""

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import networkx

from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.tasks.repository import build_repository

READY_BAR_MS = 50.0
PACKAGE_FILES = 200
COMMANDS = 10
"""Of a short attempt."""


def milliseconds(
    action: Callable[[], contextlib.AbstractContextManager[object]], repetitions: int
) -> tuple[float, float]:
    """Median and 95th percentile of the time until `action` has made its context; leaving it isn't counted."""
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        with action():
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def kata() -> dict[str, Path]:
    import rollin.tasks

    folder = Path(rollin.tasks.__file__).parent / "katas" / "roman"
    return {path.name: path for path in folder.glob("*.py")}


def package() -> dict[str, Path]:
    """About 200 files and 2 MB of a real package."""
    folder = Path(networkx.__file__).parent
    files = sorted(folder.rglob("*.py"))[:PACKAGE_FILES]
    return {path.relative_to(folder.parent).as_posix(): path for path in files}


@contextlib.contextmanager
def full_copy(source: Path, scratch: Path) -> Iterator[Path]:
    """What one would do otherwise: copy the checked-out repository, start bwrap on the copy for each command."""
    copy = Path(tempfile.mkdtemp(dir=scratch)) / "repo"
    subprocess.run(["cp", "-a", str(source), str(copy)], check=True)
    one_command(copy)
    yield copy
    shutil.rmtree(copy.parent)


@contextlib.contextmanager
def attempt(template: Path) -> Iterator[None]:
    with BubblewrapSandbox(template) as sandbox:
        for _ in range(COMMANDS):
            sandbox.run("true")
        yield


@contextlib.contextmanager
def attempt_on_copy(source: Path, scratch: Path) -> Iterator[None]:
    with full_copy(source, scratch) as copy:
        for _ in range(COMMANDS - 1):
            one_command(copy)
        yield


def one_command(copy: Path) -> None:
    walls = "--unshare-pid --unshare-net --unshare-ipc --unshare-uts --ro-bind /usr /usr --symlink usr/bin /bin"
    walls += " --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp --chdir /repo"
    subprocess.run(["bwrap", *walls.split(), "--bind", str(copy), "/repo", "bash", "-c", "true"], check=True)


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, files in (("kata", kata()), ("package", package())):
            template, _ = build_repository(files, [], scratch / "cache")
            work_copy = scratch / name
            subprocess.run(["git", "clone", "--quiet", str(template), str(work_copy)], check=True)
            size = sum(path.stat().st_size for path in files.values()) / 1e6
            ours = milliseconds(lambda: BubblewrapSandbox(template), repetitions)  # noqa: B023 - called at once
            theirs = milliseconds(lambda: full_copy(work_copy, scratch), repetitions)  # noqa: B023 - called at once
            rows.append((f"ready, {name} ({len(files)} files, {size:.1f} MB)", ours, theirs, READY_BAR_MS))
            ours = milliseconds(lambda: attempt(template), repetitions // 2)  # noqa: B023 - called at once
            theirs = milliseconds(lambda: attempt_on_copy(work_copy, scratch), repetitions // 2)  # noqa: B023
            rows.append((f"ready and {COMMANDS} commands, {name}", ours, theirs, None))
        with BubblewrapSandbox(template) as sandbox:
            ours = milliseconds(lambda: contextlib.nullcontext(sandbox.run("true")), repetitions * 5)
        theirs = milliseconds(lambda: contextlib.nullcontext(one_command(work_copy)), repetitions)
        rows.append(("one command (true)", ours, theirs, None))
    print(f"{'what':<36} {'ours, ms (p95)':>16} {'copy + bwrap (p95)':>19} {'ratio':>6} {'bar, ms':>8}")
    for what, ours, theirs, bar in rows:
        verdict = "" if bar is None else f"{bar:.0f} {'met' if ours[0] < bar else 'NOT MET'}"
        both = f"{ours[0]:>7.1f} ({ours[1]:>6.1f}) {theirs[0]:>10.1f} ({theirs[1]:>6.1f})"
        print(f"{what:<36} {both} {ours[0] / theirs[0]:>6.2f} {verdict:>8}")


if __name__ == "__main__":
    main()
