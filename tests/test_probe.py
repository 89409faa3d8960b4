"""The probe, in a real sandbox: many variants of a module, run one after the other in forks of one process."""

import random
from dataclasses import replace

import pytest

from rollin.tasks import workbench
from rollin.tasks.faults.base import Fault
from rollin.tasks.faults.semantic import SEMANTIC
from rollin.tasks.makers import WINDOW, make_semantic
from rollin.tasks.schema import Task
from rollin.tasks.units import Unit, katas
from rollin.tasks.workbench import FlakyTestsError, Workbench

FLAKY = """
import os

def test_the_first_time_alone():
    seen = os.path.exists("/tmp/seen")
    open("/tmp/seen", "w").close()
    assert not seen

def test_something():
    pass
"""
STEADY = "def test_it():\n    assert 1 == 2\n\ndef test_something():\n    pass\n"


@pytest.fixture
def unit() -> Unit:
    return next(unit for unit in katas() if unit.module == "bintree")


def test_tests_that_look_alike_to_a_cache_of_bytecode_are_told_apart(unit, tmp_path):
    """Written within one second and of one length: nothing but what they say differs."""
    name, told = unit.test_files[0], [1, 2] * 4
    with Workbench(unit, tmp_path) as bench:
        found = bench.outcomes([{name: f"def test_it():\n    assert 1 == {number}\n"} for number in told])
    assert [bool(outcome.passed) for outcome in found] == [number == 1 for number in told]


def test_a_module_that_changes_is_compiled_anew(unit, tmp_path):
    text = unit.files[unit.path]
    name = next(line.split()[1].split("(")[0] for line in text.splitlines() if line.startswith("def "))
    broken = text.replace(f"def {name}(", f"def {name[:-1]}_(", 1)
    with Workbench(unit, tmp_path) as bench:
        first, second, third = bench.outcomes([{unit.path: broken}, {}, {unit.path: broken}])
    assert first.failed
    assert not second.failed
    assert first == third


def test_what_one_probe_compiled_is_nothing_to_the_next_one_in_the_sandbox(unit, tmp_path):
    """A module of one length that no sound run imports, so that none compiles it anew in between."""
    test = "import extra\n\ndef test_it():\n    assert extra.number == 1\n"
    with Workbench(unit, tmp_path) as bench:
        found = [
            bench.outcomes([{"extra.py": f"number = {number}\n", unit.test_files[0]: test}])[0] for number in (1, 2, 1)
        ]
    assert [bool(outcome.passed) for outcome in found] == [True, False, True]


def test_what_breaks_is_run_twice_and_must_say_the_same(unit, tmp_path):
    trees = [{unit.test_files[0]: text} for text in (FLAKY, STEADY)]
    with Workbench(unit, tmp_path) as bench:
        assert [outcome.steady for outcome in bench.outcomes(trees, only="asserted")] == [False, True]
        assert all(outcome.steady for outcome in bench.outcomes(trees))  # run once, nothing is known


def test_tests_that_pass_now_and_then_are_found_out(unit, tmp_path, monkeypatch):
    with Workbench(unit, tmp_path) as bench:
        bench.outcomes([])
        monkeypatch.setattr(bench, "_baseline", replace(bench.baseline, passed=frozenset({"test_other"})))
        with pytest.raises(FlakyTestsError, match="don't say the same twice"):
            bench.outcomes([])


CROWD = """
import os, time

def test_it():
    for _ in range(5):
        if not os.fork():
            held = b"x" * (130 << 20)
            time.sleep(60)
    time.sleep(60)
"""
GREEDY = """
def test_it():
    held = []
    while True:
        held.append(b"x" * (1 << 20))
"""


def test_a_tree_that_takes_all_memory_ends_no_other(unit, tmp_path, monkeypatch):
    """One process runs into its own limit. Of several the sandbox takes note, and ends the whole probe."""
    monkeypatch.setattr(workbench, "LIMITS", workbench.LIMITS.model_copy(update={"memory_mb": 600}))
    name = unit.test_files[0]
    with Workbench(unit, tmp_path) as bench:
        greedy, crowd, steady = bench.outcomes([{name: text} for text in (GREEDY, CROWD, STEADY)], only="asserted")
        assert bench.outcomes([]) == [], "the pristine files are there again"
    assert greedy.failed[f"{name}::test_it"].type == "MemoryError"
    assert crowd.timed_out
    assert steady.passed == {f"{name}::test_something"}


def test_what_a_conftest_loads_is_loaded_anew_for_each_tree(unit, tmp_path):
    """A child must not go on from a process that holds the pristine module already."""
    name, told = unit.test_files[0], [1, 2, 1]
    test = "from bearer import number\n\ndef test_it():\n    assert number == 1\n"
    trees = [{name: test, "bearer.py": f"number = {number}\n"} for number in told]
    with Workbench(unit, tmp_path) as bench:
        bench._sandbox.write("bearer.py", b"number = 1\n")
        bench._sandbox.write("conftest.py", b"import bearer\n")
        found = bench.outcomes(trees)
    assert [bool(outcome.passed) for outcome in found] == [True, False, True]


MANY = """
import pytest
from bearer import number

@pytest.mark.parametrize("case", range(70))
def test_with_a_name_that_makes_the_record_half_as_long_as_a_buffer(case):
    assert number == 1
"""


def test_a_tree_whose_conftest_cannot_be_imported_ends_alone(unit, tmp_path):
    """Its child finds nothing. It must not end its parent's way, with what its parent had still to print."""
    name, told = unit.test_files[0], ["number = 1", "number = (", "number = (", "number = 2"]
    with Workbench(unit, tmp_path) as bench:
        bench._sandbox.write("bearer.py", b"number = 1\n")
        bench._sandbox.write("conftest.py", b"import bearer\n")
        bench._sandbox.write(name, MANY.encode())
        found = bench.outcomes([{"bearer.py": text} for text in told])
        assert len(bench.baseline.passed) == 70
    assert [len(outcome.passed) for outcome in found] == [70, 0, 0, 0]
    assert [len(outcome.failed) for outcome in found] == [0, 0, 0, 70]


def test_a_tree_may_bring_a_configuration_of_pytest(unit, tmp_path):
    name = unit.test_files[0]
    test = "def test_it():\n    pass\n\ndef check_it():\n    pass\n"
    trees = [{name: test}, {name: test, "pytest.ini": "[pytest]\npython_functions = check_*\n"}]
    with Workbench(unit, tmp_path) as bench:
        found = bench.outcomes(trees)
    assert [set(outcome.passed) for outcome in found] == [{f"{name}::test_it"}, {f"{name}::check_it"}]


def test_where_one_file_cannot_be_imported_none_is_run(unit, tmp_path):
    other = "test_other.py"
    with Workbench(replace(unit, test_files=(*unit.test_files, other)), tmp_path) as bench:
        sound, broken = bench.outcomes([{other: "def test_it():\n    pass\n"}, {other: "import nothing_like_it\n"}])
    assert len(sound.passed) > 1
    assert not broken.passed
    assert broken.failed[other].type == "ModuleNotFoundError"


CALLED = """
import functools

def shared():
    return [1]

def imported():
    return 2

def one():
    return 3

@functools.lru_cache
def kept():
    return 4

def unused():
    return 5

two = imported()
"""
CALLING = """
import pytest, extra

with open("/tmp/loaded", "a") as log:
    print(file=log)

@pytest.fixture(scope="module")
def ones():
    return extra.shared()

@pytest.fixture
def nothing():
    return None

def test_shared(ones):
    assert ones == [1]

def test_shared_again(ones):
    assert ones == [1]

def test_two():
    assert extra.two == 2

def test_three(request):
    request.getfixturevalue("nothing")
    assert extra.one() == 3

def test_four():
    assert extra.kept() == 4

def test_four_again():
    assert extra.kept() == 4
"""


@pytest.fixture
def calling(unit, tmp_path, monkeypatch):
    """A workbench that wants several tasks of a module whose tests call its functions in several ways."""
    with Workbench(unit, tmp_path, wanted=2) as bench:
        bench._sandbox.write("extra.py", CALLED.encode())
        bench._sandbox.write(unit.test_files[0], CALLING.encode())
        monkeypatch.setattr(bench, "unit", replace(unit, path="extra.py", files={"extra.py": CALLED}))
        yield bench


def _other(answer: int) -> Fault:
    """A function of `CALLED` answers something else."""
    start = CALLED.index(f"return {answer}" if answer > 1 else "return [1]")
    text = CALLED[start:].splitlines()[0]
    return Fault("extra.py", start, start + len(text), "return 0", "wrong_constant", text)


@pytest.mark.parametrize(("answer", "runs", "failing"), [(1, 1, 2), (2, 1, 1), (3, 1, 1), (4, 1, 1), (5, 0, 0)])
def test_what_calls_a_changed_function_is_run_and_no_other_test(calling, answer, runs, failing):
    calling.outcomes([])
    assert _loaded(calling) == 2, "once to note the calls"
    [outcome] = calling.with_faults([[_other(answer)]])
    assert len(outcome.failed) == failing
    assert len(outcome.passed) == 6 - failing
    assert (_loaded(calling) if runs else 0) == runs
    calls = calling.baseline.calls
    places = [line for _, line in calls["functions"]]
    lines = {test.partition("::")[2]: {places[place] for place in called} for test, called in calls["by"].items()}
    assert lines["test_three"] == {10}
    assert lines["test_four"] == {13}
    assert lines[""] >= {4, 7}
    assert "test_four_again" not in lines, "the value was kept"


def test_what_the_tests_assert_shows_in_all_of_them(calling):
    """A value that one test gets is kept for another: two runs of all tests agree on both."""
    calling.outcomes([])
    _loaded(calling)
    one, kept = calling.with_faults([[_other(3)], [_other(4)]], only="asserted")
    assert _loaded(calling) == 2 + 3
    assert [len(outcome.failed) for outcome in (one, kept)] == [1, 2]
    assert one.steady
    assert kept.steady


def test_no_more_trees_are_tried_than_are_enough(calling):
    faults = [_other(answer) for answer in (5, 3, 4, 2)]
    outcomes = calling.with_faults([[fault] for fault in faults], only="asserted", enough=2)
    assert [len(outcome.failed) for outcome in outcomes] == [0, 1, 2]
    assert calling.tried == {*faults[:3]}


def test_where_a_file_cannot_be_collected_all_tests_are_asked(calling, monkeypatch):
    """What was said to be within a function may still keep the module from being imported."""
    monkeypatch.setattr(calling, "_changed", lambda faults: [("extra.py", 10)])
    fault = Fault("extra.py", 0, 0, "import nothing_like_it\n", "misspelled_import", "")
    [outcome] = calling.with_faults([[fault]])
    assert not outcome.passed


BURNING = """
import time
import pytest


@pytest.mark.parametrize("number", range({tests}))
def test_it(number):
    end = time.process_time() + {seconds}
    while time.process_time() < end:
        pass
"""


def test_a_test_that_takes_much_longer_than_all_on_the_first_tree_ends_the_run(unit, tmp_path):
    name = unit.test_files[0]
    cases = [(1, 1), (4, 1), (1, 4), (9, 1)]
    trees = [{name: BURNING.format(tests=tests, seconds=seconds)} for tests, seconds in cases]
    with Workbench(unit, tmp_path) as bench:
        bench._sandbox.write(name, BURNING.format(tests=1, seconds=0.4).encode())
        quick, slower, endless, slowest = bench.outcomes(trees)
    assert quick.passed
    assert len(slower.passed) == 4, "each takes less than 2.2 s"
    assert endless.timed_out
    assert slowest.timed_out, "together they take more than 5 s"


def test_a_configuration_that_ends_with_the_first_failure_does_not_end_a_probe(unit, tmp_path):
    name = unit.test_files[0]
    test = "def test_1():\n    assert False\n\ndef test_2():\n    assert False\n"
    with Workbench(unit, tmp_path) as bench:
        bench._sandbox.write("pytest.ini", b"[pytest]\naddopts = -x\n")
        [outcome] = bench.outcomes([{name: test}])
    assert len(outcome.failed) == 2


def test_mutations_are_tried_in_order_until_enough_are_noticed(unit, tmp_path):
    with Workbench(unit, tmp_path) as bench:
        assert isinstance(next(make_semantic(bench, tuple(SEMANTIC), random.Random(0))), Task)
        assert 0 < len(bench.tried) <= WINDOW
    with Workbench(unit, tmp_path) as bench:
        bench._sandbox.write(unit.test_files[0], f"import {unit.module}\n\ndef test_it():\n    pass\n".encode())
        assert next(make_semantic(bench, tuple(SEMANTIC), random.Random(0))) == "no test notices a mutation"
        assert len(bench.tried) > WINDOW


def test_a_tree_stands_where_nothing_fails_but_what_fails_anyway(unit, tmp_path):
    name, later = unit.test_files[0], "\ndef test_later():\n    open('/tmp/later', 'w').close()\n"
    sound, broken = ({name: f"def test_it():\n    assert {told}\n{later}"} for told in (True, False))
    with Workbench(unit, tmp_path) as bench:
        bench._sandbox.write("test_anyway.py", b"def test_anyway():\n    raise KeyError\n")
        assert bench.stand([broken]) == [False]
        assert bench._sandbox.run("test -e /tmp/later").returncode != 0, "it is known to fall before"
        assert bench.stand([sound, broken, sound]) == [True, False, True]
        assert bench._sandbox.run("test -e /tmp/later").returncode == 0


LATER = "def test_1():\n    assert {told}\n\ndef test_2():\n    raise KeyError\n\ndef test_3():\n    pass\n"


def test_where_assertions_are_asked_for_an_exception_ends_the_run(unit, tmp_path):
    name = unit.test_files[0]
    with Workbench(unit, tmp_path) as bench:
        trees = [{name: LATER.format(told=told)} for told in (True, False)] + [{name: STEADY}]
        every = bench.outcomes(trees)
        asked = bench.outcomes(trees, only="asserted")
    assert [len(outcome.passed) for outcome in every] == [2, 1, 1]
    assert [len(outcome.passed) for outcome in asked] == [1, 0, 1]
    assert [{failure.type for failure in outcome.failed.values()} for outcome in asked] == [
        {"KeyError"},
        {"AssertionError", "KeyError"},
        {"AssertionError"},
    ]


COUNTING = "\nwith open('/tmp/loaded', 'a') as log:\n    print(file=log)\n"


def _loaded(bench: Workbench) -> int:
    """How often what counts in `/tmp/loaded` was loaded since the last look."""
    return int(bench._sandbox.run("wc -l < /tmp/loaded; rm /tmp/loaded").output)


def test_pristine_files_run_along_until_they_ran_twice(unit, tmp_path):
    name = unit.test_files[0]
    with Workbench(unit, tmp_path) as bench:
        bench._sandbox.write(name, (unit.files[name] + COUNTING).encode())
        ran = []
        for _ in range(3):
            bench.outcomes([{name: STEADY + COUNTING}])
            ran.append(_loaded(bench))
    assert ran == [2, 2, 1]


def test_one_session_serves_trees_that_change_nothing_that_a_conftest_imports(unit, tmp_path):
    """To begin one for each tree takes longer than a small module's tests."""
    name = unit.test_files[0]
    trees = [{name: f"def test_it():\n    assert {told}\n"} for told in (True, False, True)]
    with Workbench(unit, tmp_path) as bench:
        bench._sandbox.write("conftest.py", f"import bearer\n{COUNTING}".encode())
        bench._sandbox.write("bearer.py", b"")
        found = bench.outcomes(trees)
        once = _loaded(bench)
        bench.outcomes([{**tree, "bearer.py": "number = 1\n"} for tree in trees])
        assert _loaded(bench) > len(trees)
        bench.outcomes([{**tree, "other.py": "number = 1\n"} for tree in trees])
        assert _loaded(bench) > len(trees), "it might have imported that, if it could"
    assert [bool(outcome.passed) for outcome in found] == [True, False, True]
    assert once == 1
