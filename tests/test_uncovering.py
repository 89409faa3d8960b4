"""Which faults go together in a task, and which a history may have had repaired: what a small package's tests say."""

import random
from dataclasses import replace

import pytest

from rollin.tasks.faults.base import Fault
from rollin.tasks.makers import _repaired_alone
from rollin.tasks.uncovering import Pool
from rollin.tasks.units import katas
from rollin.tasks.workbench import Workbench

MODULE = """
def one(value):
    doubled = value * 2
    return doubled


def two(value):
    result = one(value)
    result = result + 1
    return result


def unused(value):
    outcome = value
    return outcome
"""
TESTS = """
from extra import one, two


def test_one():
    assert one(1) == 2


def test_two():
    assert two(1) == 3
"""
OF_ANOTHER = "from extra import one\n\n\ndef test_ones():\n    assert one(2) == 4\n"


def fault(before: str, after: str, kind: str = "misspelled_name") -> Fault:
    """A text's only occurrence, changed."""
    assert MODULE.count(before) == 1
    start = MODULE.index(before)
    return Fault("extra.py", start, start + len(before), after, kind, before)


SHOWN, HIDDEN = fault("return doubled", "return double"), fault("return result", "return resul")
UNSEEN, ASSERTED = fault("return outcome", "return outcom"), fault("result + 1", "result + 2", "wrong_constant")


@pytest.fixture
def bench(tmp_path):
    """A workbench of a module with its own tests and those of another."""
    unit = next(unit for unit in katas() if unit.module == "bintree")
    name = unit.test_files[0]
    unit = replace(unit, source="package", path="extra.py", files={"extra.py": MODULE, name: TESTS})
    with Workbench(unit, tmp_path, wanted=2) as bench:
        bench._sandbox.write("extra.py", MODULE.encode())
        bench._sandbox.write(name, TESTS.encode())
        bench._sandbox.write("test_another.py", OF_ANOTHER.encode())
        yield bench


def test_a_pool_holds_what_shows_by_an_exception_at_the_fault(bench):
    pool = Pool(bench, iter([SHOWN, UNSEEN, ASSERTED, HIDDEN]))
    assert pool.grow(4)
    assert pool.choose([1, 1, 1]) == [(SHOWN,), (HIDDEN,)]
    assert pool.choose([2, 1]) == [(SHOWN, HIDDEN)], "no fault is in two sets"
    assert not pool.grow(1), "there is no other proposal"


def test_faults_that_uncover_one_another_leave_the_pool_together(bench):
    pool = Pool(bench, iter([SHOWN, HIDDEN]))
    pool.take(2)
    [outcome] = pool.uncover(pool.choose([2]))
    name = bench.unit.test_files[0]
    assert {test: failure.at for test, failure in outcome.failed.items()} == {
        f"{name}::test_one": ("extra.py", 4),
        f"{name}::test_two": ("extra.py", 4),
    }
    assert pool.choose([1]) == []


def test_a_set_with_a_fault_that_does_not_show_is_none_and_loses_that_fault(bench):
    pool = Pool(bench, iter([SHOWN, ASSERTED]))
    pool.take(2)
    assert pool.uncover(pool.choose([2])) == [None]
    assert pool.choose([2]) == []
    assert pool.choose([1]) == [(SHOWN,)]


def test_a_fault_is_repaired_in_a_history_if_its_own_tests_alone_notice_it(bench):
    """Another unit's test needs `one`, and would fail before a commit that repairs it."""
    own = bench.unit.test_files[0]
    needed = fault("value * 2", "value * 3")
    seen = [(needed, {f"{own}::test_one", f"{own}::test_two"}), (ASSERTED, {f"{own}::test_two"})]
    assert _repaired_alone(bench, seen, random.Random(0)) == seen[1:]
