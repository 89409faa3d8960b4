"""The katas keep the rules of their README, and their tests pass."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rollin.tasks.build import TRAIN_KATAS, units_of
from rollin.tasks.schema import Split
from rollin.tasks.units import Unit, katas

KATAS = katas()


def test_there_are_enough_katas_on_both_sides_and_none_on_both():
    train, evaluation = ({unit.module for unit in units_of("kata", split)} for split in Split)
    assert len(train) == TRAIN_KATAS
    assert len(evaluation) >= 30
    assert not train & evaluation


@pytest.mark.parametrize("kata", KATAS, ids=lambda kata: kata.module)
def test_kata_is_small_plain_and_tested(kata: Unit):
    lines = kata.files[kata.path].splitlines()
    assert 15 <= len(lines) <= 65
    assert max(map(len, lines)) <= 88
    tree = ast.parse(kata.files[kata.path])
    imported = {
        ((node.module if isinstance(node, ast.ImportFrom) else alias.name) or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported <= set(sys.stdlib_module_names)
    assert not imported & {"random", "time", "socket", "subprocess", "threading"}
    tests = "\n".join(kata.files[name] for name in kata.test_files)
    for function in _public_functions(tree):
        assert function in tests, f"{function} has no test"


def _public_functions(tree: ast.Module) -> list[str]:
    holders = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    found = [node.name for holder in holders for node in holder.body if isinstance(node, ast.FunctionDef)]
    return [name for name in found if not name.startswith("_")]


def test_the_tests_of_all_katas_pass(tmp_path: Path):
    for kata in KATAS:
        folder = tmp_path / kata.module
        folder.mkdir()
        for name, text in kata.files.items():
            (folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=prepend", "--rootdir=."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    shutil.rmtree(tmp_path)
