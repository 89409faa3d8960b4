"""The half of the probe that runs inside a sandbox: `python probe_inside.py request.json`, in the repository.

For each tree of the request it writes the tree's files, forks, runs the tests in the child and puts the files back.
Where only trees of some sort are asked for, one that turns out to be of another ends there. What the first run
compiled serves the others. Needs pytest and nothing of rollin. Prints one line of JSON for each tree: what each run
found, null where it ran out of time or broke pytest itself.

It forks late, when pytest is about to collect: to get there takes longer than the tests of a small module, and the
trees don't differ in it. Where they would (a tree changes a conftest.py, pytest's configuration or what a conftest.py
imports), it forks early, before pytest begins: that is still four times cheaper than starting a process.
"""

import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NoReturn, TypedDict

import pytest

Record = dict[str, object]
Tree = Mapping[str, str | None]
Excuse = Callable[[str, str], bool]
OPTIONS = ("-q", "-p", "no:cacheprovider", "--tb=no")
"""Printing the tracebacks would double a run's time."""
CONFIGURATION = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "conftest.py")
"""What pytest reads before it collects."""
ASSERTED = ("AssertionError", "Failed")
"""The types of exceptions by which a test says itself that something is wrong."""
WALL_SECONDS = 60
"""Of one run that waits instead of computing."""
MOMENTS = count(1000 * os.getpid())
"""When files were written, in seconds: Python takes what it compiled for the file's own if time and size are the same,
so no two writings may have one time, nor those of two probes in one sandbox."""


class Request(TypedDict):
    """What is asked for: see `probe.probe`."""

    trees: list[Tree]
    test_files: list[str]
    only: str
    first: Record | None
    traced: list[str]
    seconds: int


def excuse_all(name: str, kind: str) -> bool:
    """Whether a run goes on after this test failed, by an exception of this type."""
    return True


def excuses(only: str, first: Record | None) -> Excuse:
    """What the trees asked for may fail in, when that is what was found of the first one."""
    if first is None or not only:
        return excuse_all
    failed = first["failed"]
    assert isinstance(failed, Collection)
    return {"asserted": lambda name, kind: kind in ASSERTED, "standing": lambda name, kind: name in failed}[only]


class Recorder:
    """A pytest plugin that keeps what passed, what failed, and where."""

    def __init__(self, traced: Sequence[str] = ()) -> None:
        self.excuses: Excuse = excuse_all
        self.passed: set[str] = set()
        self.failed: dict[str, Record] = {}
        self.lines: dict[str, set[int]] = {}
        """Of each file that is `traced`, those that were executed."""
        if traced:
            note_lines(self.lines, traced)

    def found(self, status: int) -> Record:
        """What a session saw that ended so."""
        assert status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), status
        sys.settrace(None)
        lines = {name: sorted(numbers) for name, numbers in self.lines.items()}
        return {"passed": sorted(self.passed - set(self.failed)), "failed": self.failed, "lines": lines}

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
            if not self.excuses(node.nodeid, str(found["type"])):
                node.session.shouldfail = "not what was asked for"


def note_lines(lines: dict[str, set[int]], files: Sequence[str]) -> None:
    """Add to `lines`, by file of these, what is executed from now on."""
    names = {os.path.abspath(name): name for name in files}

    def enter(frame: FrameType, event: str, _: object) -> Any:
        name = names.get(frame.f_code.co_filename)
        if name is None:
            return None
        numbers = lines.setdefault(name, set())

        def step(frame: FrameType, event: str, _: object) -> Any:
            numbers.add(frame.f_lineno)
            return step

        return step

    sys.settrace(enter)


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


def run_tests(test_files: list[str], traced: Sequence[str] = (), excuses: Excuse = excuse_all) -> Record:
    """One run of pytest in this process."""
    recorder = Recorder(traced)
    recorder.excuses = excuses
    return recorder.found(pytest.main([*OPTIONS, *test_files], plugins=[recorder]))


def fork(seconds: int) -> bytes | int:
    """What a child told, null if it was killed, as it is when its time is over. In the child: the pipe to tell it to.

    CPU time decides, so that a busy machine doesn't change what is found; the wall time is for those that sleep. A
    child may have half of the memory that this process may: together they keep within the sandbox's.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        memory = resource.getrlimit(resource.RLIMIT_AS)[0]
        if memory != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, (memory // 2, memory // 2))
        signal.alarm(WALL_SECONDS)
        gc.disable()
        sys.dont_write_bytecode = False
        silence()
        return writer
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer or b"null"


def tell(pipe: int, run: Callable[[], Record]) -> NoReturn:
    """End the child that `fork` made, with what it finds. One that finds nothing ends, too: it must not go on with what
    is its parent's to do."""
    try:
        record = json.dumps(run())
        with os.fdopen(pipe, "w") as writer:
            writer.write(record)
    finally:
        os._exit(0)


def forked(run: Callable[[], Record], seconds: int) -> bytes:
    """Run in a child; what it found as JSON, null where it found nothing in its time."""
    answer = fork(seconds)
    if isinstance(answer, int):
        tell(answer, run)
    return answer


def load_plugins() -> None:
    """Before the first fork, not in each child: a session in a folder without tests."""
    pytest.main([*OPTIONS, "--collect-only", "--noconftest", str(Path(sys.argv[1]).parent)])


def silence() -> None:
    """Nobody hears what the tests print."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def put(files: Tree) -> Tree:
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


def try_trees(request: Request, screen: BinaryIO, trial: Callable[[Excuse], bytes | int]) -> int | None:
    """Print what trials found of each tree; None when all were tried. A child that a trial left here gets its pipe."""
    gc.freeze()  # with gc.disable() in the children a third of a run's time
    only, first = request["only"], request["first"]
    for tree in request["trees"]:
        before, answers = put(tree), list[bytes]()
        while not answers or (len(answers) == 1 and only == "asserted" and denies_some(first, answers[0])):
            answer = trial(excuses(only, first))
            if isinstance(answer, int):
                return answer
            answers.append(answer)
        first = first or json.loads(answers[0])
        put(before)
        screen.write(b"[%b]\n" % b", ".join(answers))
        screen.flush()  # or the next children would have it, too
    return None


def denies_some(first: Record | None, answer: bytes) -> bool:
    """Whether some tests passed, some did not that pass on the first tree, and all failures were assertions'."""
    if first is None or not (found := json.loads(answer)):
        return False
    sound = first["passed"]
    assert isinstance(sound, Collection)
    asserted = all(failure.get("type") in ASSERTED for failure in found["failed"].values())
    return bool(found["passed"]) and not {*sound} <= {*found["passed"]} and asserted


class Late:
    """A pytest plugin that tries the trees when pytest is about to collect, and then ends the process. Its children go
    on."""

    def __init__(self, request: Request, screen: BinaryIO) -> None:
        self.request, self.screen = request, screen
        self.recorder = Recorder(request["traced"])
        self.pipe: int | None = None
        """In a child, where it has to tell what it finds."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        own = own_modules()
        if not all(is_apart(own, tree) for tree in self.request["trees"]):
            os._exit(1)
        self.pipe = try_trees(self.request, self.screen, self.trial)
        if self.pipe is None:
            os._exit(0)

    def trial(self, excuses: Excuse) -> bytes | int:
        """The child goes on with the session."""
        self.recorder.excuses = excuses
        return fork(self.request["seconds"])


def own_modules() -> set[str]:
    """The files of the repository's modules that this process has loaded: a conftest.py, say, and what it imports."""
    here, script = os.path.join(os.getcwd(), ""), os.path.abspath(__file__)
    files = {os.path.abspath(getattr(module, "__file__", None) or os.devnull) for module in list(sys.modules.values())}
    return {file.removeprefix(here) for file in files - {script} if file.startswith(here)}


def is_apart(own: set[str], tree: Tree) -> bool:
    """Whether a process that has loaded these modules would have loaded the same ones on that tree: it changes others
    alone, and none comes or goes."""
    names = [os.path.normpath(name) for name, text in tree.items() if text is not None]
    others = [name for name in names if name.endswith(".py") and name not in own and os.path.exists(name)]
    return not own or len(others) == len(tree)


def forks_late(request: Request, screen: BinaryIO) -> bool:
    """Try the trees from within one session, in a child of its own. False where that can't be, or broke off: then all
    are to be tried again, and the last lines count."""
    if any(Path(name).name in CONFIGURATION for tree in request["trees"] for name in tree):
        return False
    child = os.fork()
    if child == 0:
        late = Late(request, screen)
        status = pytest.main([*OPTIONS, *request["test_files"]], plugins=[late, late.recorder])
        if late.pipe is not None:
            tell(late.pipe, partial(late.recorder.found, status))
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def forks_early(request: Request, screen: BinaryIO) -> None:
    """Try the trees, each in a session of its own."""
    load_plugins()

    def trial(excuses: Excuse) -> bytes:
        return forked(partial(run_tests, request["test_files"], request["traced"], excuses), request["seconds"])

    try_trees(request, screen, trial)


def main() -> None:
    """Answer the request, tree by tree."""
    request = json.loads(Path(sys.argv[1]).read_text())
    shorten_accounts()
    sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    screen = os.fdopen(os.dup(1), "wb")
    silence()
    if not forks_late(request, screen):
        forks_early(request, screen)


if __name__ == "__main__":
    main()
