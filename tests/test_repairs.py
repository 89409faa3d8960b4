"""The scripted expert's parts by themselves: each repair as a command that really runs, and how an output is read."""

import random
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from expert_room import KATAS, files_of

from rollin.policies.expert import steps
from rollin.policies.expert.knowledge import faults_of
from rollin.policies.expert.screen import Event
from rollin.policies.expert.sed import insertion, repair
from rollin.tasks.faults.base import apply, diff, line_of
from rollin.tasks.faults.semantic import SEMANTIC
from rollin.tasks.faults.visible import VISIBLE


@pytest.mark.parametrize("kata", sorted(path.name for path in KATAS.iterdir() if (path / f"{path.name}.py").exists()))
def test_every_repair_is_exact(kata: str, tmp_path: Path) -> None:
    """The command turns the broken file into the sound one and leaves the others alone, for every kind of fault."""
    rng, files = random.Random(0), files_of(kata)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for propose in (*VISIBLE.values(), *SEMANTIC.values()):
        for fault in islice(propose(files, f"{kata}.py", rng), 1):
            broken = apply(files, [fault])
            for name, text in broken.items():
                (tmp_path / name).write_text(text)
            subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
            for part in reversed(faults_of(diff(broken, files))):
                subprocess.run(["bash", "-c", repair(part, part.line, broken[part.path])], cwd=tmp_path, check=True)
            expected = dict(files)
            if fault.kind == "missing_import":
                expected[fault.path] = above_the_others(broken[fault.path], files[fault.path])
            assert {name: (tmp_path / name).read_text() for name in files} == expected, fault


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ('p = Path(__file__.with_name("a")', 'p = Path(__file__).with_name("a")'),
        ('a = f("x.strip(), y)', 'a = f("x".strip(), y)'),
        ("\tif x", "\tif x:"),
        ("\t x = 1", "\tx = 1"),
    ],
)
def test_dots_and_tabs_are_no_trap_for_a_repair(wrong: str, right: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(f"{wrong}\n")
    (fault,) = faults_of(f"--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-{wrong}\n+{right}\n")
    subprocess.run(["bash", "-c", repair(fault, 1, f"{wrong}\n")], cwd=tmp_path, check=True)
    assert (tmp_path / "a.py").read_text() == f"{right}\n"


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("if x", "if x:", ": at its end"),
        ('f"a {b})', 'f"a {b}")', '" before )'),
        ("cells[down, up = 1", "cells[down, up] = 1", "] after up"),
        ("_tax(total)", "_tax(total, rate)", "rate before )"),
    ],
)
def test_a_thought_says_what_is_lost_and_where(wrong: str, right: str, said: str) -> None:
    (fault,) = faults_of(f"--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-{wrong}\n+{right}\n")
    assert str(insertion(fault)) == said


@pytest.mark.parametrize(
    "rest",
    [
        'SAID: typing.Final = "yes"\n\n\nclass Missing:\n    """None."""\n',
        "KINDS = (typing.Any,)\n\n\nimport re\n",
        "SAID: typing.Final = 1\n",
        "def f(x: typing.Any):\n    return x\n\n\nSAID = typing.cast(int, f(1))\n",
    ],
)
def test_a_lost_import_comes_above_its_first_use(rest: str, tmp_path: Path) -> None:
    whole = f'"""A module.\n\ntyping: as it is.\n"""\n\nimport typing\n\n{rest}'
    broken = whole.replace("import typing\n", "")
    (fault,) = faults_of(diff({"a.py": broken}, {"a.py": whole}))
    (tmp_path / "a.py").write_text(broken)
    subprocess.run(["bash", "-c", repair(fault, fault.line, broken)], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "a.py"], cwd=tmp_path, check=True)


def above_the_others(broken: str, whole: str) -> str:
    """The text with its lost import above the first of the others, or above the first definition."""
    lines = broken.splitlines(keepends=True)
    (lost,) = (Counter(whole.splitlines(keepends=True)) - Counter(lines)).elements()
    first = next(at for at, line in enumerate(lines) if line.startswith(("import ", "from ", "def ", "class ", "@")))
    return "".join([*lines[:first], lost, *lines[first:]])


@pytest.mark.parametrize(
    "kind", ["missing_colon", "missing_bracket", "missing_quote", "bad_indent", "missing_argument"]
)
@pytest.mark.parametrize("kata", ["invoice", "csvline", "maze", "stock"])
def test_what_a_line_lost_is_among_its_readings(kata: str, kind: str, tmp_path: Path) -> None:
    """The command really runs; what it leaves for a reading is the whole file with that line."""
    files, path = files_of(kata), f"{kata}.py"
    fault = next(iter(VISIBLE[kind](files, path, random.Random(3))))
    broken = apply(files, [fault])[path]
    (tmp_path / path).write_text(broken)
    number = line_of(broken, fault.start)
    (part,) = faults_of(diff({path: broken}, {path: files[path]}))
    lost = kind == "missing_argument"
    command = steps.arguments(path, number, part.new) if lost else steps.readings(path, number)
    here = command.replace("/tmp/", f"{tmp_path}/")
    shown = subprocess.run(["bash", "-c", here], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert f"{part.reading} # {part.place}" in [line.strip() for line in shown.splitlines()]
    assert (tmp_path / str(part.place)).read_text() == files[path]
    assert steps.readings_of(command) == (path, number)


@pytest.mark.parametrize("short", [steps.EXCHANGE, f"{steps.PUT_FIRST}a.py", "ls"])
@pytest.mark.parametrize("found", ["sel self", "import re", "sel", ""])
def test_what_is_said_in_short_and_in_full_is_the_same(short: str, found: str) -> None:
    full = steps.in_full(short, found)
    assert steps.in_short(full, found) == short
    means_something = (short == steps.EXCHANGE and " " in found) or ("a.py" in short and "import" in found)
    assert (full != short) == (steps.LIKE not in full and short != "ls") == means_something


@pytest.mark.parametrize(
    ("verdict", "passed"),
    [
        ("427 passed, 3 xfailed in 0.78s", True),
        ("=== 168 passed, 2 skipped in 0.21s ===", True),
        ("1 failed, 74 passed in 0.33s", False),
        ("45 passed, 5 errors in 9.07s", False),
        ("no tests ran in 0.00s", False),
        ("(timed out)", None),
    ],
)
def test_a_verdict_is_read_as_pytest_means_it(verdict: str, passed: bool | None) -> None:
    assert Event("python -m pytest | tail -n 6", verdict).passed is passed


@pytest.mark.parametrize(
    ("command", "verdict", "passed"),
    [
        ("python -m pytest test_a.py::test_b", "1 passed in 0.01s", None),
        ("python -m pytest test_a.py::test_b", "1 failed in 0.01s", False),
        ("pytest -k 'double' | tail -n 3", "3 passed, 2 deselected in 0.01s", None),
        ("pytest -kdouble | tail -n 3", "1 failed, 3 passed, 2 deselected in 0.01s", False),
        ("pytest --lf", "1 passed, 4 deselected in 0.01s", None),
        ("pytest --kind-of-option", "5 passed in 0.01s", True),
    ],
)
def test_some_of_the_tests_can_fail_and_not_pass(command: str, verdict: str, passed: bool | None) -> None:
    """Those that were not run may fail."""
    assert Event(command, verdict).passed is passed
