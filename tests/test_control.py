"""The control of a grade: tests that can't pass, and nobody accused who repaired something."""

import subprocess
import sys
from pathlib import Path

import pytest
from roman_room import BUGGY, FIXED, TESTS, finished

from rollin.sandboxes.workspace import open_workspace
from rollin.tasks import control_inside
from rollin.tasks.grading import extract_patch, grade
from rollin.tasks.schema import Commit
from rollin.tasks.validation import Validation

SOURCE = '''# -*- coding: latin-1 -*-
"""All ways to write a test. \xe4"""
from __future__ import annotations
import unittest
import pytest


def kept(test):
    """Makes a success of a failure."""
    def wrapped(*words):
        with pytest.raises(AssertionError):
            test(*words)
    return wrapped


def test_plain():
    """Of several lines."""
    def test_within(): return 1
    assert test_within()


def test_short(): pass


async def test_later():
    pass


@pytest.mark.parametrize("number", [1, 2], ids=["one", "a[b]"])
def test_each(number):
    assert number


@kept
def test_decorated():
    assert False


class TestBase:
    def test_method(self):
        @kept
        def inner(): assert False
        inner()

    @staticmethod
    def test_static():
        pass

    class TestInner:
        def test_deep(self):
            return


class TestHeir(TestBase):
    pass


class TestOld(unittest.TestCase):
    def test_old(self): self.assertTrue(1)

    @unittest.expectedFailure
    def test_expected(self):
        self.fail()


@unittest.skip("not now")
class TestSkipped(unittest.TestCase):
    def test_never(self): pass


def test_twice():
    pass


@kept
def test_twice():
    assert False


def test_bound():
    pass


def test_imported():
    pass


if True:
    test_bound = helper = int
    from os import getcwd as test_imported
'''
FAILING = {
    *("test_plain", "test_short", "test_later", "test_each"),
    *("TestBase::test_method", "TestBase::TestInner::test_deep", "TestOld::test_old"),
}
"""Those that are made to fail, by their names in the file."""


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A test file after the control has changed it."""
    path = tmp_path / "test_all.py"
    path.write_text(SOURCE, encoding="latin-1")
    told = subprocess.run([sys.executable, "-I", control_inside.__file__, path.name], cwd=tmp_path, capture_output=True)
    assert told.stdout.decode().split("\0") == [*sorted(f"test_all.py::{name}" for name in FAILING), ""]
    return path


def test_what_is_named_fails_and_the_rest_does_as_before(changed: Path) -> None:
    report = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-q", "-p", "no:cacheprovider", changed.name],
        cwd=changed.parent,
        capture_output=True,
        text=True,
    ).stdout
    lines = [line.split(" - ")[0] for line in report.splitlines() if line.startswith(("PASSED", "FAILED"))]
    failed = {line.split("::", 1)[1].partition("[")[0] for line in lines if line.startswith("FAILED")}
    passed = {line.split("::", 1)[1] for line in lines if line.startswith("PASSED")}
    inherited = {"TestHeir::test_method", "TestHeir::TestInner::test_deep"}  # and not named
    assert failed == FAILING | inherited
    assert passed >= {"test_decorated", "test_twice", "TestBase::test_static", "TestHeir::test_static"}


def test_who_repairs_is_not_accused_by_tests_that_can_not_be_made_to_fail(tmp_path: Path) -> None:
    tests = "from roman import double, zero\n" + SOURCE.partition("import annotations\n")[2].replace(
        "    assert number\n", "    assert double(number) == 2 * number\n"
    )
    task = finished([Commit(subject="Import", files={"roman.py": BUGGY, "test_roman.py": tests})], tmp_path)
    names = ["test_each[one]", "test_each[a[b]]", "test_plain", "test_decorated", "test_twice", "TestHeir::test_method"]
    ids = [f"test_roman.py::{name}" for name in [*names, "TestOld::test_old", "TestBase::TestInner::test_deep"]]
    with open_workspace(task, tmp_path) as sandbox:
        sandbox.write("roman.py", FIXED.encode())
        patch = extract_patch(sandbox)
    wide = task.model_copy(update={"FAIL_TO_PASS": ids[:2], "PASS_TO_PASS": ids[2:]})
    assert grade(wide, patch, tmp_path).lacks == ""
    only = task.model_copy(update={"FAIL_TO_PASS": [ids[3]], "PASS_TO_PASS": []})
    assert grade(only, patch, tmp_path).resolved, "no test of it can be made to fail"


def test_no_task_is_made_of_a_package_whose_tests_run_when_they_are_imported(tmp_path: Path) -> None:
    """The control keeps them from being imported, and would accuse any patch."""
    for tests, resolves in ((TESTS, True), (f"{TESTS}\n\ntest_zero()\n", False)):
        history = [Commit(subject="Import", files={"roman.py": BUGGY, "test_roman.py": tests})]
        task = finished(history, tmp_path).model_copy(update={"source": "package"})
        with open_workspace(task, tmp_path) as sandbox:
            sandbox.write("roman.py", FIXED.encode())
            patch = extract_patch(sandbox)
        assert Validation(tmp_path).resolves(task.model_copy(update={"patch": patch})) == resolves
