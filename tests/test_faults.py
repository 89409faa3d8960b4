"""Faults are pure, deterministic, repairable in one line, and say nothing about their repair."""

import random
import subprocess
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollin.tasks.faults.base import Fault, apart, apply, diff, faulty_lines, function_around, occurs
from rollin.tasks.faults.regression import BAD_SUBJECTS, has_place, synthesise
from rollin.tasks.faults.revisions import undo_function, undo_tests
from rollin.tasks.faults.semantic import SEMANTIC
from rollin.tasks.faults.visible import VISIBLE, misspell
from rollin.tasks.probe import Failure
from rollin.tasks.reports import leaks, symptom, write_report
from rollin.tasks.repository import build_repository, repository_shas
from rollin.tasks.units import katas

KATAS = katas()
ALL = {**VISIBLE, **SEMANTIC}
few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def git_apply(folder: Path, files: dict[str, str], patch: str) -> dict[str, str]:
    """What `git apply` makes of the files."""
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "x.patch").write_text(patch)
    subprocess.run(["git", "apply", "x.patch"], cwd=folder, check=True)
    return {name: (folder / name).read_text() for name in files}


@given(st.sampled_from(KATAS), st.sampled_from(sorted(ALL)), st.integers(0, 9))
@few
def test_the_patch_of_every_fault_gives_the_pristine_files(tmp_path_factory, kata, kind, seed):
    for fault in islice(ALL[kind](kata.code, kata.path, random.Random(seed)), 2):
        broken = apply(kata.code, [fault])
        assert broken != kata.code
        folder = tmp_path_factory.mktemp("apply")
        assert git_apply(folder, broken, diff(broken, kata.code)) == kata.code


@given(st.sampled_from(KATAS), st.sampled_from(sorted(ALL)), st.integers(0, 9))
@few
def test_the_same_seed_gives_the_same_faults(kata, kind, seed):
    first, second = ([*ALL[kind](kata.code, kata.path, random.Random(seed))] for _ in range(2))
    assert first == second
    assert {fault.kind for fault in first} <= {kind}


@given(st.sampled_from(KATAS), st.sampled_from(sorted(VISIBLE)), st.integers(0, 9))
@few
def test_a_visible_fault_is_repaired_in_one_line(kata, kind, seed):
    for fault in VISIBLE[kind](kata.code, kata.path, random.Random(seed)):
        changed = diff(apply(kata.code, [fault]), kata.code).splitlines()
        assert sum(line.startswith("+") and not line.startswith("+++") for line in changed) == 1
        assert sum(line.startswith("-") and not line.startswith("---") for line in changed) <= 1


@given(st.sampled_from(KATAS), st.sampled_from([kind for kind in VISIBLE if kind.startswith("misspelled")]))
@few
def test_the_right_spelling_stands_elsewhere(kata, kind):
    for fault in VISIBLE[kind](kata.code, kata.path, random.Random(0)):
        assert occurs(fault.answer, "\n".join(apply(kata.code, [fault]).values())) >= 1


@given(st.text("abcdefghij_", min_size=4, max_size=12), st.integers(0, 99))
def test_a_misspelling_keeps_the_ends_and_changes_little(word, seed):
    wrong = misspell(word, random.Random(seed))
    assert wrong[0] == word[0]
    assert abs(len(wrong) - len(word)) <= 1
    assert sorted(set(wrong) - set(word)) == []


def test_lines_count_what_other_faults_removed():
    files = {"m.py": "import re\nimport os\n\n\nx = 1\ny = os.sep\n"}
    gone = Fault("m.py", 0, 10, "", "missing_import", "import re")
    typo = Fault(
        "m.py", files["m.py"].index("sep"), files["m.py"].index("sep") + 3, "spe", "misspelled_attribute", "sep"
    )
    assert faulty_lines(files, [gone, typo]) == [("m.py", 1), ("m.py", 5)]
    assert apply(files, [typo, gone])["m.py"] == "import os\n\n\nx = 1\ny = os.spe\n"
    assert apart(files, typo, [gone])
    assert not apart(files, typo, [typo])


def test_no_import_is_lost_that_two_lines_could_have_brought():
    """`datetime` is a module's name and a class's; what brought it can't be told from the name alone."""
    text = "from datetime import datetime\nfrom math import floor\nimport json\n\nx = json, floor, datetime, math\n"
    lost = VISIBLE["missing_import"]({"m.py": text}, "m.py", random.Random(0))
    assert {fault.answer for fault in lost} == {"from math import floor", "import json"}


def test_there_are_ten_semantic_kinds_and_each_finds_a_kata():
    found = {
        kind
        for kata in KATAS[::3]
        for kind, propose in SEMANTIC.items()
        if [*propose(kata.code, kata.path, random.Random(0))]
    }
    assert len(found) >= 10


def test_semantic_faults_compile():
    for kata in KATAS[::8]:
        for propose in SEMANTIC.values():
            for fault in propose(kata.code, kata.path, random.Random(1)):
                compile(apply(kata.code, [fault])[kata.path], kata.path, "exec")


MODULE = """
def half(value):
    return value / 2


def twice(value):
    return half(4 * value)


class Box:
    def area(self):
        return 1

    def wide(self):
        return 2


def chart(box):
    return f"{box.area()}"
"""
MODULE_TESTS = """
import pytest
from module import Box, half, twice


class Plain(Box):
    size = 3


# twice twice
@pytest.mark.parametrize("value", [1])
def test_twice(value):
    assert twice(value) == 2
def test_box():
    assert Plain().size == 3


class TestWide:
    def test_wide(self):
        assert Box().wide() == 2

    def test_wide_again(self):
        assert Plain().wide() == 2


class TestBoth:
    def test_twice(self):
        assert twice(2) == 4

    def test_half(self):
        assert half(2) == 1


class TestLater(TestBoth):
    pass
"""


def test_a_function_is_taken_back_with_its_tests_and_nothing_else():
    """`half` and `area` have other users, one of them in an f-string; `chart` has no test. A class without tests that
    its tests use stays."""
    files = {"module.py": MODULE, "test_module.py": MODULE_TESTS}
    found = [undo_function(files, "module.py", random.Random(seed)) for seed in range(9)]
    earlier = {addition.function: addition.files for addition in found if addition}
    assert earlier.keys() == {"twice", "wide"}
    for name, files in earlier.items():
        for text in files.values():
            compile(text, name, "exec")
            assert not occurs(name, text)
    assert "TestWide" not in earlier["wide"]["test_module.py"]
    kept = earlier["twice"]["test_module.py"]
    kept = earlier["twice"]["test_module.py"]
    assert "class Plain(Box):\n    size = 3\ndef test_box" in kept
    assert "class TestBoth:\n\n    def test_half" in kept


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (["test_twice[1]", "TestBoth::test_half"], ["test_box", "TestWide", "TestBoth::test_twice"]),
        (["TestWide::test_wide", "TestWide::test_wide_again"], ["test_twice", "test_box", "TestBoth"]),
        (["TestLater::test_half", "test_box"], ["test_twice", "TestWide", "TestBoth::test_twice"]),
    ],
)
def test_tests_are_taken_back_by_their_names(ids, kept):
    files = {"test_module.py": MODULE_TESTS}
    earlier = undo_tests(files, [f"test_module.py::{name}" for name in ids])
    assert earlier is not None
    text = earlier["test_module.py"]
    compile(text, "test_module.py", "exec")
    assert all(f"def {name.split('::')[-1]}" in text or f"class {name}" in text for name in kept)
    assert len(text.split("def test")) == len(MODULE_TESTS.split("def test")) - 2
    assert ("class TestWide" in text) == ("TestWide" in kept)


@pytest.mark.parametrize(
    "ids", [["test_module.py::Nested::Deep::test_x"], ["elsewhere.py::test_x"], ["test_module.py"], []]
)
def test_tests_that_are_not_found_keep_the_others(ids):
    found = ["test_module.py::test_box"] if ids else []
    assert undo_tests({"test_module.py": MODULE_TESTS}, [*ids, *found]) is None


@pytest.mark.parametrize("kata", KATAS[::7], ids=lambda kata: kata.module)
def test_a_history_leads_from_the_pristine_files_to_the_broken_head(kata):
    for seed in range(6):
        rng = random.Random(seed)
        fault = next(iter(SEMANTIC["wrong_variable"](kata.code, kata.path, rng)))
        history = synthesise(kata.files, fault, rng)
        if history is None:
            continue
        files = dict(kata.files)
        for commit, state in zip(history.commits(kata.files), history.states, strict=True):
            assert len(commit.subject) < 50
            files = {path: text for path, text in {**files, **commit.files}.items() if text is not None}
            assert files == state
        assert 5 <= len(history.states) <= 10
        assert 2 <= history.bad <= len(history.states) - 2
        assert any(subject.startswith("Add ") for subject in history.subjects[history.bad + 1 :])
        assert history.subjects[history.bad].split()[0] in {subject.split()[0] for subject in BAD_SUBJECTS}
        repair = diff(history.states[-1], history.repaired).splitlines()
        assert {line[4:] for line in repair if line.startswith("---")} == {f"a/{kata.path}"}
        return
    pytest.fail("no history in six tries")


def test_a_history_holds_a_fault_whose_line_stands_once_and_in_a_function():
    code = "LIMIT = 3\n\n\ndef f(a):\n    return a > 1\n\n\ndef g(a):\n    a += 2\n    return a > 1\n"

    def placed(old: str, new: str) -> bool:
        start = code.index(old)
        return has_place({"m.py": code}, Fault("m.py", start, start + len(old), new, "wrong_constant", old))

    assert placed("2", "5")
    assert not placed("1", "5")  # the same line stands in both functions
    assert not placed("3", "5")  # in none


def test_a_revert_conflicts_where_a_later_commit_touched_the_line_beside(tmp_path):
    conflicts = 0
    for seed in range(40):
        rng = random.Random(seed)
        kata = KATAS[seed % len(KATAS)]
        history = synthesise(kata.files, rng.choice([*SEMANTIC["wrong_variable"](kata.code, kata.path, rng)]), rng)
        if history is None or not history.conflicts:
            continue
        texts = {path: text.encode() for path, text in kata.files.items()}
        template, _ = build_repository(texts, history.commits(kata.files), tmp_path / "cache")
        work = tmp_path / str(seed)
        subprocess.run(["git", "clone", "--quiet", str(template), str(work)], check=True)
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        bad = repository_shas(template)[history.bad]
        done = subprocess.run(["git", *who, "revert", "--no-edit", bad], cwd=work, capture_output=True)
        assert done.returncode != 0
        conflicts += 1
    assert conflicts >= 3


TEST = """from m import total


def test_total():
    assert total([1, 2]) == 3


def test_all():
    x = 1
    assert total([x]) == 1
"""


def test_a_report_says_what_was_called_expected_and_got():
    wrong = symptom(
        "test_m.py::test_total", Failure("AssertionError", "assert 4 == 3", None, 5), {"test_m.py": TEST}, "m"
    )
    assert (wrong.call, wrong.expected, wrong.got) == ("total([1, 2])", "3", "4")
    broken = symptom("test_m.py::test_total", Failure("NameError", "", ("m.py", 3), 5), {"test_m.py": TEST}, "m")
    statement = write_report([broken], ["item"], random.Random(0), used_to=False)
    assert statement is not None
    assert "total([1, 2])" in statement
    assert "NameError" in statement


def test_a_report_names_only_the_test_where_the_call_needs_its_context():
    found = symptom("test_m.py::test_all", Failure("NameError", "", ("m.py", 3), 10), {"test_m.py": TEST}, "m")
    assert found.call == ""
    statement = write_report([found], [], random.Random(0), used_to=True)
    assert statement is not None
    assert statement.startswith("Regression: ")
    assert not str(write_report([found], [], random.Random(0), used_to=False)).startswith("Regression")
    assert statement is not None
    assert "test_all" in statement


def test_a_report_never_says_the_repair():
    found = symptom("test_m.py::test_total", Failure("NameError", "", ("m.py", 3), 5), {"test_m.py": TEST}, "m")
    statement = write_report([found], ["total"], random.Random(0), used_to=False)
    assert statement is None or not leaks(statement, ["total"])


def test_a_value_with_an_address_is_left_out():
    failure = Failure("AssertionError", "assert <f at 0x7f00> == 3", None, 5)
    assert symptom("test_m.py::test_total", failure, {"test_m.py": TEST}, "m").got == ""


NESTED = '''import functools
@functools.cache
def outer(a, b=1):
    """Says."""
    def inner(c=b):
        return c + 2
    return inner() + a
class Held:
    size = 3
    def held(self): return 4
async def later():
    return 5
'''


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import functools", None),
        ("functools.cache", None),
        ("1", None),  # what a function's signature says is read where the function is made
        ("Says", 2),
        ("c=b", 2),
        ("2", 5),
        ("inner() + a", 2),
        ("3", None),
        ("4", 10),
        ("5", 11),
        ("        return c + 2\n", 5),
        ("def held(self): return 4", None),
    ],
)
def test_a_fault_lies_in_the_innermost_function_whose_body_holds_it(text, line):
    start = NESTED.index(text)
    fault = Fault("some.py", start, start + len(text), "", "wrong_constant", "")
    assert function_around({"some.py": NESTED}, fault) == (None if line is None else ("some.py", line))
    assert function_around({"some.py": NESTED}, replace(fault, kind="missing_colon")) is None


def test_no_function_is_around_a_fault_in_data():
    assert function_around({"some.json": "{}"}, Fault("some.json", 0, 1, "", "misspelled_data_key", "")) is None
