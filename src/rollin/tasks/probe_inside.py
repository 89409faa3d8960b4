"""The half of the probe that runs inside a sandbox: `python probe_inside.py request.json`, in the repository,
beside `run_inside.py`.

For each tree of the request it writes the tree's files, forks, runs the tests in the child and puts the files back.
Where only trees of some sort are asked for, one that turns out to be of another ends there. Where it is known which
tests call the functions that a tree changes, these run alone: the others can't tell it from the first tree. What the
first run compiled serves the others. Needs pytest and nothing of rollin. Prints one line of JSON for each tree: what
its runs found, the last of them the one to go by; null where one ran out of time or broke pytest itself.

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
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from functools import partial
from itertools import count
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, TypedDict

import pytest

if TYPE_CHECKING:
    from rollin.tasks import run_inside
else:  # it lies beside this file, wherever that is
    import run_inside

Tree = Mapping[str, str | None]
Told = list[run_inside.Record | None]
CONFIGURATION = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "conftest.py")
"""What pytest reads before it collects."""
TRACING = 4
"""So many times as long as another a run may take that notes calls."""
SLOWER, SLOWEST = 3, 10
"""So many times as long as all tests on the first tree, and a second more, may one test take, and all together. A loop
that doesn't end is found by the former. Were it the latter's bound, too, trees on which many tests are slower would
come and go with the machine's speed."""
MOMENTS = count(1000 * os.getpid())
"""When files were written, in seconds: Python takes what it compiled for the file's own if time and size are the same,
so no two writings may have one time, nor those of two probes in one sandbox."""


class Request(TypedDict):
    """What is asked for: see `probe.probe`."""

    trees: list[Tree]
    changed: list[list[list[object]] | None]
    """For each tree the functions that it changes, as `Calls` has them; null where that isn't all."""
    test_files: list[str]
    only: str
    enough: int
    """So many trees as asked for."""
    first: run_inside.Record | None
    traced: list[str]
    seconds: int


def excuses(only: str, first: run_inside.Record) -> run_inside.Excuse:
    """What the trees asked for may fail in, when that is what was found of the first one."""
    if not only:
        return run_inside.excuse_all
    failed, asserted = first["failed"], run_inside.ASSERTED
    return {"asserted": lambda name, kind: kind in asserted, "standing": lambda name, kind: name in failed}[only]


Runs = Generator[run_inside.Run, run_inside.Record | None, Told]
"""Those of one tree: each may depend on what was found, null where that is nothing. At last comes what to tell."""


def fork(seconds: float) -> bytes | int:
    """What a child told, null if it was killed, as it is when its time is over. In the child: the pipe to tell it to.

    CPU time decides, so that a busy machine doesn't change what is found; the wall time is for those that sleep. A
    child may have half of the memory that this process may: together they keep within the sandbox's.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_CPU, (ceil(seconds) + 1,) * 2)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        memory = resource.getrlimit(resource.RLIMIT_AS)[0]
        if memory != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, (memory // 2, memory // 2))
        signal.alarm(run_inside.WALL_SECONDS)
        gc.disable()
        sys.dont_write_bytecode = False
        silence()
        return writer
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer or b"null"


def tell(pipe: int, run: Callable[[], run_inside.Record]) -> NoReturn:
    """End the child that `fork` made, with what it finds. One that finds nothing ends, too: it must not go on with what
    is its parent's to do."""
    try:
        record = json.dumps(run())
        with os.fdopen(pipe, "w") as writer:
            writer.write(record)
    finally:
        os._exit(0)


def forked(run: Callable[[], run_inside.Record], seconds: float) -> bytes:
    """Run in a child; what it found as JSON, null where it found nothing in its time."""
    answer = fork(seconds)
    if isinstance(answer, int):
        tell(answer, run)
    return answer


def load_plugins() -> None:
    """Before the first fork, not in each child: a session in a folder without tests."""
    pytest.main([*run_inside.OPTIONS, "--collect-only", "--noconftest", str(Path(sys.argv[1]).parent)])


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


def try_trees(request: Request, screen: BinaryIO, trial: Callable[[run_inside.Run], bytes | int]) -> int | None:
    """Print what trials found of each tree; None when all were tried. A child that a trial left here gets its pipe."""
    gc.freeze()  # with gc.disable() in the children a third of a run's time
    first, missing = request["first"], request["enough"]
    for tree, changed in zip(request["trees"], request["changed"], strict=True):
        told: Told | int = []
        if missing:
            runs = runs_of_another(request, first, changed) if first else runs_of_the_first(request)
            before = put(tree)
            told = carry_out(runs, trial)
            if isinstance(told, int):
                return told
            put(before)
            missing -= first is not None and is_as_asked_for(told)
            first = first or told[-1]
        screen.write(json.dumps(told).encode() + b"\n")
        screen.flush()  # or the next children would have it, too
    return None


def carry_out(runs: Runs, trial: Callable[[run_inside.Run], bytes | int]) -> Told | int:
    """What is to be told of a tree after its runs. In a child that a trial left here: its pipe."""
    try:
        run = next(runs)
        while isinstance(answer := trial(run), bytes):
            run = runs.send(json.loads(answer))
    except StopIteration as end:
        told: Told = end.value
        return told
    return answer


def is_as_asked_for(told: Told) -> bool:
    """Whether it showed twice that a tree is."""
    *_, found, again = (None, *told)
    return found is not None and again is not None and found["passed"] == again["passed"]


def runs_of_the_first(request: Request) -> Runs:
    """The first tree's runs: a second one, if calls are to be noted."""
    seconds = request["seconds"]
    plain = yield run_inside.Run(seconds=seconds)
    if plain is None or not request["traced"]:
        return [plain]
    traced = yield run_inside.Run(seconds=TRACING * seconds, traced=request["traced"])
    return [traced, plain | {"calls": traced and traced["calls"]}]


def runs_of_another(request: Request, first: run_inside.Record, changed: Sequence[Sequence[object]] | None) -> Runs:
    """Another tree's runs: with those tests alone that may tell it from the first one, if they are known. What was
    asked for shows in all, and must show twice."""
    some = telling(first, changed)
    if some is not None and not some:
        return [first | {"calls": None}]
    test_seconds, seconds = (most * first["seconds"] + 1 for most in (SLOWER, SLOWEST))
    every = run_inside.Run(None, excuses(request["only"], first), seconds, test_seconds)
    found = yield every._replace(tests=some)
    if found and some and found["failed"].keys() <= some:
        found = with_others(found, first, some)
    elif found and some:  # there is a file that can't be collected
        some, found = None, (yield every)
    if found is None or request["only"] != "asserted" or not denies_some(first, found):
        return [found]
    again = yield every
    if some is not None and (again is None or again["passed"] != found["passed"]):
        found, again = again, (yield every)
    return [found, again]


def telling(first: run_inside.Record, changed: Sequence[Sequence[object]] | None) -> frozenset[str] | None:
    """The tests that call one of the functions that were changed. None if any may tell: where that isn't known, or one
    was called for all of them."""
    calls = first["calls"]
    if changed is None or not calls or not calls["functions"]:
        return None
    places = {place for place, function in enumerate(calls["functions"]) if [*function] in changed}
    tests = {test for test, called in calls["by"].items() if not places.isdisjoint(called)}
    return None if "" in tests else frozenset(tests)


def with_others(found: run_inside.Record, first: run_inside.Record, tests: Collection[str]) -> run_inside.Record:
    """What these tests found, and all others as on the first tree."""
    passed = {*first["passed"]}.difference(tests).union(found["passed"])
    failed: dict[str, dict[str, object]] = {name: {} for name in first["failed"] if name not in tests}
    return {"passed": sorted(passed), "failed": failed | found["failed"], "calls": None, "seconds": found["seconds"]}


def denies_some(first: run_inside.Record, found: run_inside.Record) -> bool:
    """Whether some tests passed, some did not that pass on the first tree, and those failed by assertions."""
    kinds = {failure.get("type") for name, failure in found["failed"].items() if name not in first["failed"]}
    return bool(found["passed"]) and not {*first["passed"]} <= {*found["passed"]} and kinds <= {*run_inside.ASSERTED}


class Late:
    """A pytest plugin that tries the trees when pytest is about to collect, and then ends the process. Its children go
    on."""

    def __init__(self, request: Request, screen: BinaryIO) -> None:
        self.request, self.screen = request, screen
        self.recorder = run_inside.Recorder()
        self.pipe: int | None = None
        """In a child, where it has to tell what it finds."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        own = own_modules()
        if not all(is_apart(own, tree) for tree in self.request["trees"]):
            os._exit(1)
        self.pipe = try_trees(self.request, self.screen, partial(self.trial, session.config.args))
        if self.pipe is None:
            os._exit(0)

    def trial(self, files: list[str], run: run_inside.Run) -> bytes | int:
        """The child goes on with the session, whose `files` are those that hold the run's tests."""
        answer = fork(run.seconds)
        if isinstance(answer, int):
            files[:] = files_of(run.tests, files)
            self.recorder.begin(run)
        return answer


def files_of(tests: Collection[str] | None, files: Sequence[str]) -> Sequence[str]:
    """Those that hold the tests; all if the tests' names don't say so."""
    wanted = {name.partition("::")[0] for name in tests or ()}
    return [name for name in files if name in wanted] if wanted and wanted <= {*files} else files


def own_modules() -> set[str]:
    """The files of the repository's modules that this process has loaded: a conftest.py, say, and what it imports."""
    here = os.path.join(os.getcwd(), "")
    files = {os.path.abspath(getattr(module, "__file__", None) or os.devnull) for module in list(sys.modules.values())}
    return {file.removeprefix(here) for file in files if file.startswith(here) and not file.startswith(run_inside.HERE)}


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
        status = pytest.main([*run_inside.OPTIONS, *request["test_files"]], plugins=[late, late.recorder])
        if late.pipe is not None:
            tell(late.pipe, partial(late.recorder.found, status))
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def forks_early(request: Request, screen: BinaryIO) -> None:
    """Try the trees, each in a session of its own."""
    load_plugins()

    def trial(run: run_inside.Run) -> bytes:
        return forked(partial(run_inside.run_tests, request["test_files"], run), run.seconds)

    try_trees(request, screen, trial)


def main() -> None:
    """Answer the request, tree by tree."""
    request = json.loads(Path(sys.argv[1]).read_text())
    run_inside.shorten_accounts()
    sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    screen = os.fdopen(os.dup(1), "wb")
    silence()
    if not forks_late(request, screen):
        forks_early(request, screen)


if __name__ == "__main__":
    main()
