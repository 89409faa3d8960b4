"""Finds out where in a package of PyPI faults can be put: which modules have tests that pass offline, and soon.

The tests of a source distribution are run in a sandbox, file by file. Files that fail there, or take long, are left
out of the repository, so that an agent that runs all tests sees none fail but those of its task.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from rollin.errors import UserError
from rollin.sandboxes.base import Limits
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.sandboxes.workspace import PYTEST_NEEDS
from rollin.tasks.packages import Package
from rollin.tasks.repository import build_repository, files_below
from rollin.tasks.sources import NAME, VERSION, Origin, digest, download, keep

QUICK = 2.0
"""CPU seconds that the tests of one module may take."""
ALL_QUICK = 15
"""CPU seconds that all tests of the repository may take: agents run them."""
TESTS_PER_MODULE = 3
MODULES = 12
"""Of one package, those of which most is tested: a package should not be most of a catalogue."""
FUNCTIONS = 3
"""A module is worth it if its tests call so many of its functions."""
LINES = range(20, 3000)
CONFIGURATION = ("pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "conftest.py", "tests/conftest.py")
"""May ask for plugins, or be older than pytest: left out where no test passes with them."""
FAILING = re.compile(r"^(?:FAILED|ERROR) ([^\s:]+)", re.MULTILINE)
LIMITS = Limits(memory_mb=2048, output_kb=8192, disk_mb=512)


class UnfitPackageError(Exception):
    """Why no task can be made of a package."""


@dataclass(frozen=True)
class Tested:
    """What two runs of one test file said."""

    name: str
    passed: int
    failed: int
    steady: bool
    """Both runs passed the same."""
    seconds: float
    calls: Mapping[str, int]
    """Path -> how many of its functions were called."""

    @property
    def good(self) -> bool:
        """Whether it can be left in the repository: a file without tests of its own may be what others import."""
        return self.steady and not self.failed and self.seconds <= QUICK


def scout(requirement: str) -> Package | str:
    """A catalogue's entry for a package, `name` or `name==version`, which is downloaded; or why it gets none."""
    try:
        return _scout(requirement)
    except (UserError, UnfitPackageError) as reason:
        return str(reason)


def _scout(requirement: str) -> Package:
    asked, pinned, wanted = requirement.partition("==")
    if not NAME.fullmatch(asked) or (pinned and not VERSION.fullmatch(wanted)):
        raise UnfitPackageError("it is no package of PyPI: write <name> or <name>==<version>")
    name = canonicalize_name(asked)
    if name in PYTEST_NEEDS:
        raise UnfitPackageError("pytest needs it, so its sound code can't be hidden from an agent")
    with tempfile.TemporaryDirectory() as work:
        archive = download(requirement, Path(work))
        version = archive.name.removesuffix(".tar.gz").rpartition("-")[2]
        origin = Origin(name, version, digest(archive))
        folder = keep(archive, origin)
        files = dict(files_below(folder))
        modules, left_out = survey(files)
        keep(archive, Origin(name, version, origin.sha256, left_out))
    return Package(name=name, version=version, sha256=origin.sha256, modules=modules, left_out=left_out)


def survey(files: Mapping[str, Path]) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """(source file -> the test files that cover it, what to leave out). UnfitPackageError if there is no such file."""
    tests = sorted(path for path in files if _is_test(path))
    if not tests:
        raise UnfitPackageError("its source distribution holds no tests")
    left_out = tuple[str, ...]()
    found = _run(files, tests)
    if not any(test.good and test.passed for test in found):
        left_out = tuple(path for path in CONFIGURATION if path in files)
        found = _run(_without(files, left_out), tests)
    left_out += tuple(test.name for test in found if not test.good)
    good = [test for test in found if test.good and test.passed]
    if good:
        left_out += _failing_together(_without(files, left_out))
    modules = dict(_modules([test for test in good if test.name not in left_out], files))
    if not modules:
        raise UnfitPackageError("no module has tests that pass here, offline, twice and soon")
    return modules, left_out


def _is_test(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py") or name == "tests.py")


def _without(files: Mapping[str, Path], left_out: Sequence[str]) -> dict[str, Path]:
    return {path: place for path, place in files.items() if path not in left_out}


def _run(files: Mapping[str, Path], tests: Sequence[str]) -> list[Tested]:
    """What each test file says, in a sandbox with these files."""
    with tempfile.TemporaryDirectory() as work, _sandbox(files, Path(work)) as sandbox:
        for name in ("run_inside.py", "probe_inside.py", "scout_inside.py"):
            sandbox.write(f".probe/{name}", Path(__file__).with_name(name).read_bytes())
        request = {"test_files": tests, "seconds": 4 * int(QUICK)}
        sandbox.write(".probe/request.json", json.dumps(request).encode())
        seconds = 8 * QUICK * (len(tests) + 1)
        lines = sandbox.run("python .probe/scout_inside.py .probe/request.json", seconds=seconds).output.splitlines()
    return [found for line, name in zip(lines, tests, strict=False) if (found := _read(line, name))]


def _sandbox(files: Mapping[str, Path], work: Path) -> BubblewrapSandbox:
    work.chmod(0o755)  # a sandbox reads it under another uid
    return BubblewrapSandbox(build_repository(files, [], work)[0], LIMITS)


def _read(line: str, name: str) -> Tested | None:
    try:
        plain, counted = json.loads(line)
    except ValueError:
        return None
    if plain is None:
        return Tested(name, 0, 1, False, float("inf"), {})
    steady = counted is not None and counted["passed"] == plain["passed"]
    calls = counted["calls"] if counted else {}
    return Tested(name, len(plain["passed"]), len(plain["failed"]), steady, plain["seconds"], calls)


def _modules(tests: Sequence[Tested], files: Mapping[str, Path]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The modules of which most is tested, each with the test files that test it most."""
    called = {
        path: max(test.calls[path] for test in tests if path in test.calls) for test in tests for path in test.calls
    }
    worth = [path for path in called if called[path] >= FUNCTIONS and path in files and _is_source(path, files[path])]
    for path in sorted(sorted(worth, key=called.__getitem__, reverse=True)[:MODULES]):
        covering = [test for test in tests if 3 * test.calls.get(path, 0) >= called[path]]
        covering.sort(key=lambda test: (-test.calls[path], test.name))
        chosen, seconds = list[str](), 0.0
        for test in covering[:TESTS_PER_MODULE]:
            seconds += test.seconds
            if seconds <= QUICK:
                chosen.append(test.name)
        if chosen:
            yield path, tuple(sorted(chosen))


def _is_source(path: str, place: Path) -> bool:
    parts = PurePosixPath(path).parts
    inside_tests = any(part in ("test", "tests", "testing") for part in parts[:-1])
    if inside_tests or parts[-1] in ("conftest.py", "setup.py") or _is_test(path):
        return False
    return len(place.read_text(encoding="utf-8", errors="replace").splitlines()) in LINES


def _failing_together(files: Mapping[str, Path]) -> tuple[str, ...]:
    """Test files that fail when all run together, as an agent runs them: two of the same name, say. UnfitPackageError
    where the rest doesn't pass without them, or not soon."""
    said = _all_tests(files)
    failing = sorted({path for path in FAILING.findall(said) if path in files})
    if failing:
        said = _all_tests(_without(files, failing))
    summary = (said.strip().splitlines() or ["nothing was said"])[-1]
    if not re.search(r"[1-9]\d* passed", summary) or re.search(r"\b(failed|error)", summary):
        raise UnfitPackageError(f"its tests together do not pass in {ALL_QUICK} seconds: {summary[-80:]}")
    return tuple(failing)


def _all_tests(files: Mapping[str, Path]) -> str:
    """The end of what pytest says. CPU time is limited, as for each file: a busy machine changes nothing."""
    with tempfile.TemporaryDirectory() as work, _sandbox(files, Path(work)) as sandbox:
        command = f"ulimit -t {ALL_QUICK}; python -m pytest -q --tb=no -rfE | tail -n 200"
        return sandbox.run(command, seconds=10.0 * ALL_QUICK).output
