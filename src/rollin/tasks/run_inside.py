"""One run of tests inside a sandbox: what is asked of it, and what it finds. Needs pytest and nothing of rollin.

Run        which tests, what doesn't end them, how long they may take
Recorder   keeps what passes, what fails and where, and which functions each test calls
Record     what it found
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple, TypedDict

import pytest

Excuse = Callable[[str, str], bool]
OPTIONS = ("-q", "-p", "no:cacheprovider", "--tb=no", "--maxfail=0")
"""Printing the tracebacks would double a run's time; a package's own `-x` would hide what fails after the first."""
ASSERTED = ("AssertionError", "Failed")
"""The types of exceptions by which a test says itself that something is wrong."""
WALL_SECONDS = 60
"""Of one run that waits instead of computing."""
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
"""The folder of the scripts, which lies in the repository and is no part of it."""


class Calls(TypedDict):
    """Which functions each test calls."""

    functions: list[tuple[str, int]]
    """Each by its file and its first line, as `co_firstlineno` counts."""
    by: dict[str, list[int]]
    """Test -> places in that list. Under "" those that are called for several tests, or before any."""


class Record(TypedDict):
    """What a run found."""

    passed: list[str]
    failed: dict[str, dict[str, object]]
    calls: Calls | None
    """If they were noted."""
    seconds: float
    """CPU time."""


def excuse_all(name: str, kind: str) -> bool:
    """Whether a run goes on after this test failed, by an exception of this type."""
    return True


class Run(NamedTuple):
    """One run of tests: how, and of which."""

    tests: Collection[str] | None = None
    """None: all."""
    excuse: Excuse = excuse_all
    seconds: float = 0.0
    """CPU time that it may take."""
    test_seconds: float = 0.0
    """CPU time that one test may take, and what comes before the first; no less than the whole if it is 0."""
    traced: Sequence[str] = ()
    """Files of whose functions it notes the calls."""


def give(seconds: float) -> None:
    """From now on this process has so much CPU time, where that is known; then it is killed."""
    if seconds:
        signal.setitimer(signal.ITIMER_PROF, seconds)


class Recorder:
    """A pytest plugin that keeps what passed, what failed, and where; and who called what, if it is asked to."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.failed: dict[str, dict[str, object]] = {}
        self._run = Run()
        self._test = ""
        """The one that runs; "" while something is done for several."""
        self._callers: dict[tuple[str, int], set[str]] = {}
        self._note: Callable[[FrameType, str, object], None] | None = None
        """What notes a call, if they are to be noted."""

    def begin(self, run: Run) -> None:
        """Record this run from now on."""
        self._run = run
        give(run.test_seconds)
        if run.traced:
            self._note = self._noting({os.path.abspath(name): name for name in run.traced})
            threading.settrace(self._note)
            sys.settrace(self._note)

    def found(self, status: int) -> Record:
        """What a session saw that ended so."""
        assert status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), status
        sys.settrace(None)
        threading.settrace(None)
        calls = self._calls() if self._run.traced else None
        passed = sorted(self.passed - set(self.failed))
        return {"passed": passed, "failed": self.failed, "calls": calls, "seconds": time.process_time()}

    def _noting(self, files: Mapping[str, str]) -> Callable[[FrameType, str, object], None]:
        def note(frame: FrameType, event: str, _: object) -> None:
            name = files.get(frame.f_code.co_filename)
            if name is not None:
                self._callers.setdefault((name, frame.f_code.co_firstlineno), set()).add(self._test)

        return note

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Calls are noted within, if at all. A test may ask for a fixture in its midst: it goes on as before."""
        before = sys.gettrace()
        if self._note:
            sys.settrace(self._note)
        try:
            yield
        finally:
            if self._note:
                sys.settrace(before)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        """From now on calls are noted in what is the tests' own: pytest around them would take as long again."""
        if self._note:
            sys.settrace(None)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        with self._noted():
            return (yield)

    def _calls(self) -> Calls:
        by: dict[str, list[int]] = {}
        for place, tests in enumerate(self._callers.values()):
            for test in tests:
                by.setdefault(test, []).append(place)
        return {"functions": [*self._callers], "by": by}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        give(self._run.test_seconds)
        self._test = item.nodeid
        try:
            return (yield)
        finally:
            self._test = ""

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
        """What tests share is set up in the first one that wants it, for all."""
        test = self._test
        if fixturedef.scope != "function":
            self._test = ""
        try:
            with self._noted():
                return (yield)
        finally:
            self._test = test

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._run.tests is not None:
            items[:] = [item for item in items if item.nodeid in self._run.tests]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Where something can't be collected nothing is run: as pytest has it, but without its long account of that."""
        return True if session.testsfailed and not session.config.option.continue_on_collection_errors else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            self.passed.add(report.nodeid)
        elif report.failed:
            self.failed.setdefault(report.nodeid, {})

    def pytest_exception_interact(self, node: pytest.Item, call: pytest.CallInfo[object]) -> None:
        if call.excinfo is not None:
            self.failed[node.nodeid] = found = describe(call.excinfo.value)
            if not self._run.excuse(node.nodeid, str(found["type"])):
                node.session.shouldfail = "not what was asked for"


def describe(error: BaseException) -> dict[str, object]:
    """The exception's type, its message's first line, the deepest place in the repository, the line of the test."""
    if type(error).__name__ == "CollectError" and error.__cause__ is not None:
        error = error.__cause__
    places, trace = [], error.__traceback__
    while trace is not None:
        places.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno or 0))
    here = os.getcwd() + os.sep
    inside = [
        (name.removeprefix(here), line) for name, line in places if name.startswith(here) and not name.startswith(HERE)
    ]
    first_line = (str(error).splitlines() or [""])[0]
    return {
        "type": type(error).__name__,
        "message": first_line[:300],
        "at": inside[-1] if inside else None,
        "test_line": next((line for name, line in inside if Path(name).name.startswith("test")), None),
    }


def run_tests(test_files: Sequence[str], run: Run = Run()) -> Record:  # noqa: B008 (it is immutable)
    """One run of pytest in this process."""
    recorder = Recorder()
    recorder.begin(run)
    return recorder.found(pytest.main([*OPTIONS, *test_files], plugins=[recorder]))


def shorten_accounts() -> None:
    """Nobody reads pytest's own account of a failure here, and making it takes five times as long as the tests."""
    account = pytest.ExceptionInfo.getrepr

    def brief(self: pytest.ExceptionInfo[BaseException], *_: object, **__: object) -> object:
        return repr(self.value) if isinstance(self.value, Exception) else account(self)

    pytest.ExceptionInfo.getrepr = brief  # type: ignore[method-assign, assignment]
