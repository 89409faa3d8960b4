"""The half of the probe that runs inside a sandbox: `python probe_inside.py request.json`, in the repository.

For each tree of the request it writes the tree's files, forks, runs pytest in the child and puts the files back. Where
the request says `twice`, a tree that breaks some of the first tree's tests runs once more. Forking a process that has
pytest loaded makes a run four times cheaper than starting one; what the first run compiled serves the others. Needs
pytest and nothing of rollin. Prints one line of JSON for each tree: what each run found, null where it ran out of time.
"""

import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path

import pytest

Record = dict[str, object]
OPTIONS = ("-q", "-p", "no:cacheprovider", "--tb=no")
"""Printing the tracebacks would double a run's time."""
WALL_SECONDS = 60
"""Of one run that waits instead of computing."""
MOMENTS = count(1000 * os.getpid())
"""When files were written, in seconds: Python takes what it compiled for the file's own if time and size are the same,
so no two writings may have one time, nor those of two probes in one sandbox."""


class Recorder:
    """A pytest plugin that keeps what passed, what failed, and where."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.failed: dict[str, Record] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            self.passed.add(report.nodeid)
        elif report.failed:
            self.failed.setdefault(report.nodeid, {})

    def pytest_exception_interact(self, node: pytest.Item, call: pytest.CallInfo[object]) -> None:
        if call.excinfo is not None:
            self.failed[node.nodeid] = describe(call.excinfo.value)


def describe(error: BaseException) -> Record:
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
    inside = [(name.removeprefix(here), line) for name, line in places if name.startswith(here)]
    first_line = (str(error).splitlines() or [""])[0]
    return {
        "type": type(error).__name__,
        "message": first_line[:300],
        "at": inside[-1] if inside else None,
        "test_line": next((line for name, line in inside if Path(name).name.startswith("test")), None),
    }


def run_tests(test_files: list[str]) -> Record:
    """One run of pytest in this process."""
    recorder = Recorder()
    sys.path.insert(0, os.getcwd())
    status = pytest.main([*OPTIONS, *test_files], plugins=[recorder])
    assert status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED), status
    return {"passed": sorted(recorder.passed - set(recorder.failed)), "failed": recorder.failed}


def forked(run: Callable[[], Record], seconds: int) -> bytes:
    """Run in a child that is killed when its time is over; what it found as JSON, null where it found nothing.

    CPU time decides, so that a busy machine doesn't change what is found; the wall time is for those that sleep.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        signal.alarm(WALL_SECONDS)
        gc.disable()
        sys.dont_write_bytecode = False
        silence = os.open(os.devnull, os.O_RDWR)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        record = json.dumps(run())
        with os.fdopen(writer, "w") as pipe:
            pipe.write(record)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe_end:
        answer = pipe_end.read()
    os.waitpid(child, 0)
    return answer or b"null"


def put(files: Mapping[str, str | None]) -> dict[str, str | None]:
    """Write files (None deletes) and return what was there."""
    before: dict[str, str | None] = {}
    for name, text in files.items():
        path = Path(name)
        before[name] = path.read_text() if path.exists() else None
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            os.utime(path, (moment := next(MOMENTS), moment))
    return before


def shorten_accounts() -> None:
    """Nobody reads pytest's own account of a failure here, and making it takes five times as long as the tests."""
    account = pytest.ExceptionInfo.getrepr

    def brief(self: pytest.ExceptionInfo[BaseException], *_: object, **__: object) -> object:
        return repr(self.value) if isinstance(self.value, Exception) else account(self)

    pytest.ExceptionInfo.getrepr = brief  # type: ignore[method-assign, assignment]


def main() -> None:
    """Answer the request, tree by tree."""
    request = json.loads(Path(sys.argv[1]).read_text())
    shorten_accounts()
    sys.dont_write_bytecode = True
    screen = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    pytest.main([*OPTIONS, "--collect-only", str(Path(sys.argv[1]).parent)])  # loads all plugins before the first fork
    gc.freeze()  # with gc.disable() below a third of a run's time
    run, sound = partial(forked, lambda: run_tests(request["test_files"]), request["seconds"]), set[str]()
    for tree in request["trees"]:
        before = put(tree)
        answers = [run()]
        passed = set((json.loads(answers[0]) or {"passed": ()})["passed"])
        sound = sound or passed
        if request["twice"] and passed and sound - passed:
            answers.append(run())
        put(before)
        screen.write(b"[%b]\n" % b", ".join(answers))
    screen.flush()


if __name__ == "__main__":
    main()
