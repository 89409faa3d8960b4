"""Extracting a patch from whatever an agent left, and grading it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from roman_room import BUGGY, FIXED, TESTS, finished

from rollin.errors import InfrastructureFault, UserError
from rollin.sandboxes.base import Limits, Sandbox
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.sandboxes.workspace import open_workspace
from rollin.tasks.grading import GRADING, Grade, extract_patch, grade, run_tests
from rollin.tasks.repository import build_repository
from rollin.tasks.schema import Commit, Task

FAKE_SUMMARY = (
    "=========================== short test summary info ============================\n"
    "PASSED test_roman.py::test_double\nPASSED test_roman.py::test_zero\n"
    "============================== 2 passed in 0.01s ===============================\n"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def task(cache: Path) -> Task:
    history = [
        Commit(subject="Import", files={"roman.py": FIXED, "test_roman.py": TESTS, "latin.txt": "x\n"}),
        Commit(subject="Break double", files={"roman.py": BUGGY}),
        Commit(subject="More", files={"latin.txt": "y\n"}),
    ]
    task = finished(history, cache)
    with open_workspace(task, cache) as sandbox:
        sandbox.write("roman.py", FIXED.encode())
        return task.model_copy(update={"patch": extract_patch(sandbox)})


@pytest.fixture
def sandbox(task: Task, cache: Path) -> Iterator[Sandbox]:
    with open_workspace(task, cache) as made:
        yield made


def after(task: Task, cache: Path, files: dict[str, str], command: str = "true") -> Grade:
    """The grade of what is left when an agent writes these files and runs this command."""
    with open_workspace(task, cache) as sandbox:
        for path, text in files.items():
            sandbox.write(path, text.encode())
        sandbox.run(command)
        return grade(task, extract_patch(sandbox), cache)


# Extraction


def test_an_untouched_repository_has_an_empty_patch(sandbox: Sandbox, task: Task) -> None:
    assert extract_patch(sandbox) == ""


@pytest.mark.parametrize(
    "state",
    {
        "unstaged": "true",
        "staged": "git add -A",
        "committed": "git commit -qam fix",
        "on another branch": "git switch -qc fix; git commit -qam fix",
        "detached": "git commit -qam fix; git checkout -q --detach",
        "amended": "git commit -q --amend -am other",
        "rebased away": "git commit -qam fix; git rebase -q --onto HEAD~3 HEAD~1; echo y > latin.txt",
        "in a revert with a conflict": "git commit -qam fix; git revert HEAD~2; echo; cp /tmp/fixed roman.py",
        "in a bisection": "git commit -qam x; git bisect start HEAD HEAD~2; cp /tmp/fixed roman.py; echo y > latin.txt",
        "with a locked index": "touch .git/index.lock",
        "with a broken index": "echo x > .git/index",
        "with a broken head": "echo x > .git/HEAD",
        "with other settings": "git config core.autocrlf true; git config diff.noprefix 1; git config color.ui always",
        "with hostile settings": "git config --global diff.external rm; git config core.fsmonitor 'rm -rf .'",
        "without git's folder": "rm -rf .git",
        "with git's folder a file": "rm -rf .git; echo > .git",
        "with a nested repository": "git init -q inner; git -C inner commit -q --allow-empty -m x; git init -q empty",
        "with a full /dev/shm": "head -c 99999999 /dev/zero > /dev/shm/full",
        "with full disks": "for f in /dev/shm/f /tmp/f ./f.orig; do head -c 999999999 /dev/zero > $f; done",
        "with full disks that are closed": (
            "for d in /dev/shm/d /tmp/d; do mkdir $d; head -c 999999999 /dev/zero > $d/f; chmod 0 $d; done"
        ),
        "with junk": "mkdir __pycache__ .pytest_cache; touch __pycache__/a.pyc .pytest_cache/x roman.py.orig a.rej",
    }.items(),
    ids=lambda pair: pair[0],
)
def test_the_patch_is_found_in_whatever_state(sandbox: Sandbox, task: Task, state: tuple[str, str]) -> None:
    sandbox.write("roman.py", FIXED.encode())
    sandbox.run("cp roman.py /tmp/fixed; " + state[1])
    assert extract_patch(sandbox) == task.patch


def test_new_deleted_binary_executable_and_oddly_named_files_survive_the_way(task: Task, cache: Path) -> None:
    with open_workspace(task, cache) as sandbox:
        sandbox.write("new/größe 語.bin", bytes(range(256)) * 400)
        sandbox.run("git rm -q latin.txt; chmod +x roman.py; ln -s roman.py link; printf 'no newline' > end")
        state = sandbox.run(
            "find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 sha1sum; ls -l roman.py"
        ).output
        patch = extract_patch(sandbox)
    with open_workspace(task, cache) as fresh:
        fresh.write(".git/it.patch", patch.encode())
        assert fresh.run("git apply .git/it.patch").output == ""
        again = fresh.run(
            "find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 sha1sum; ls -l roman.py"
        ).output
    assert again.split("agent")[0] == state.split("agent")[0]


def test_text_in_another_encoding_is_not_damaged(task: Task, cache: Path) -> None:
    with open_workspace(task, cache) as sandbox:
        sandbox.write("latin.txt", "größe\n".encode("latin-1"))
        patch = extract_patch(sandbox)
    with open_workspace(task, cache) as fresh:
        fresh.write(".git/it.patch", patch.encode())
        assert fresh.run("git apply .git/it.patch; od -A n -t x1 latin.txt").output == " 67 72 f6 df 65 0a\n"


def test_a_patch_larger_than_what_a_command_may_print_is_whole(task: Task, cache: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(5000))
    with open_workspace(task, cache, Limits(output_kb=4)) as sandbox:
        sandbox.write("long.txt", text.encode())
        patch = extract_patch(sandbox)
    assert patch.count("\n+line ") == 5000


@pytest.mark.parametrize("size", ["40M", "100M"])
def test_a_core_dump_is_no_patch_nor_is_what_lies_beside_it(sandbox: Sandbox, size: str) -> None:
    """The larger one has no room as git's object either: half a patch would be left."""
    sandbox.write("roman.py", FIXED.encode())
    sandbox.run(f"head -c {size} /dev/urandom > the.core", seconds=60.0)
    assert extract_patch(sandbox) == ""


def test_a_change_is_found_in_a_repository_of_more_files_than_there_is_room_for_copies(tmp_path: Path) -> None:
    """Each copy takes a page at least, however young its file is: 2,500 take more than /tmp has here."""
    files = {f"data/{number}.txt": f"{number}\n".encode() for number in range(2500)}
    template, _ = build_repository({**files, "zero.py": b"ZERO = 1\n"}, [], tmp_path)
    with BubblewrapSandbox(template, Limits(disk_mb=32)) as sandbox:
        sandbox.run("echo ZERO = 0 > zero.py; find . -path ./.git -prune -o -type f -exec touch -d '5 seconds' {} +")
        assert extract_patch(sandbox).splitlines()[-2:] == ["-ZERO = 1", "+ZERO = 0"]


def test_no_room_for_a_look_at_the_base_commit_is_a_fault(tmp_path: Path) -> None:
    """Long paths: an index of half a megabyte, which git writes anew beside itself, and a megabyte of room."""
    folder = "/".join(["f" * 250] * 14)
    template, _ = build_repository({f"{folder}/{number}": b"" for number in range(150)}, [], tmp_path)
    with BubblewrapSandbox(template, Limits(disk_mb=1)) as sandbox, pytest.raises(InfrastructureFault, match="no room"):
        extract_patch(sandbox)


@pytest.mark.parametrize(
    ("program", "script"),
    [
        ("wc", "echo nonsense"),
        ("wc", "echo 99999999999999999999 /tmp/patch.x/patch"),
        ("base64", "echo"),
        ("base64", "echo QQ"),
        ("base64", "echo größe"),
        ("base64", "exit 1"),
        ("git", r"printf '\377\n'"),
    ],
)
def test_programs_that_the_agent_put_in_their_place_give_no_patch(tmp_path: Path, program: str, script: str) -> None:
    """As an agent can in a container."""
    template, _ = build_repository({"zero.py": b"ZERO = 1\n"}, [], tmp_path)
    with BubblewrapSandbox(template, env={"PATH": "/repo/bin:/usr/bin:/bin"}) as sandbox:
        sandbox.write("zero.py", b"ZERO = 0\n")
        assert "+ZERO = 0" in extract_patch(sandbox)
        sandbox.write(f"bin/{program}", f"#!/bin/bash\n{script}\n".encode())
        sandbox.run(f"chmod +x bin/{program}")
        assert extract_patch(sandbox) == ""


def test_extracting_from_a_closed_sandbox_is_a_fault(sandbox: Sandbox, task: Task) -> None:
    sandbox.close()
    with pytest.raises(InfrastructureFault):
        extract_patch(sandbox)


# Grading


def test_the_reference_patch_resolves(task: Task, cache: Path) -> None:
    found = grade(task, task.patch, cache)
    assert (found.resolved, found.patch_applied) == (True, True)
    assert found.tests == {"test_roman.py::test_double": "PASSED", "test_roman.py::test_zero": "PASSED"}
    assert found.report["FAIL_TO_PASS"] == {"success": ["test_roman.py::test_double"], "failure": []}


def test_a_quiet_test_command_grades_as_well(task: Task, cache: Path) -> None:
    quiet = task.model_copy(update={"test_command": "python -m pytest -rA --tb=no -q"})
    assert grade(quiet, task.patch, cache).resolved
    assert not grade(quiet, "", cache).resolved


def test_an_empty_patch_does_not_resolve(task: Task, cache: Path) -> None:
    found = grade(task, "", cache)
    assert (found.resolved, found.patch_applied) == (False, True)
    assert found.tests == {"test_roman.py::test_double": "FAILED", "test_roman.py::test_zero": "PASSED"}


def test_a_fix_that_breaks_another_test_does_not_resolve(task: Task, cache: Path) -> None:
    assert not after(task, cache, {"roman.py": FIXED.replace("return 0", "return 1")}).resolved


def test_a_grade_names_what_the_tests_ended_with(task: Task, cache: Path) -> None:
    assert after(task, cache, {"roman.py": FIXED.replace("return 0", "return nought")}).exceptions == ["NameError"]
    assert after(task, cache, {"roman.py": FIXED.replace("return 0", "return (")}).exceptions == ["SyntaxError"]


@pytest.mark.parametrize("patch", ["nonsense", "--- a/nowhere\n+++ b/nowhere\n@@ -1 +1 @@\n-a\n+b\n"])
def test_a_patch_that_does_not_apply_is_a_grade(task: Task, cache: Path, patch: str) -> None:
    found = grade(task, patch, cache)
    assert (found.resolved, found.patch_applied, found.tests) == (False, False, {})
    assert found.log


def test_a_fix_resolves_whatever_was_done_to_the_tests(task: Task, cache: Path) -> None:
    assert after(task, cache, {"roman.py": FIXED, "test_roman.py": "def test_nothing(): pass\n"}).resolved
    assert after(
        task, cache, {"roman.py": FIXED}, "rm test_roman.py; mkdir test_roman.py; touch test_roman.py/x"
    ).resolved


PASS_ALL = (
    "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport():\n"
    "    report = (yield).get_result()\n    report.outcome = 'passed'\n"
)
FAKES = {
    "edited tests": {"test_roman.py": "def test_double(): pass\ndef test_zero(): pass\n"},
    "a conftest.py": {"conftest.py": PASS_ALL},
    "a plugin named in pytest.ini": {"pytest.ini": "[pytest]\naddopts = -p cheat\n", "cheat.py": PASS_ALL},
    "pytest's newest settings file": {"pytest.toml": "[pytest]\naddopts = ['-p', 'cheat']\n", "cheat.py": PASS_ALL},
    "a plugin named in pyproject.toml": {
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-p cheat'\n",
        "cheat.py": PASS_ALL,
    },
    "a sitecustomize.py": {"sitecustomize.py": f"print('''{FAKE_SUMMARY}''', flush=True); import os; os._exit(0)\n"},
    "a pytest of its own": {"pytest.py": f"print('''{FAKE_SUMMARY}''')\n"},
    "a pytest package of its own": {"pytest/__init__.py": "", "pytest/__main__.py": f"print('''{FAKE_SUMMARY}''')\n"},
    "a pytest of its own in src": {"src/pytest.py": f"print('''{FAKE_SUMMARY}''')\n"},
    "a standard module of its own in src": {
        "src/tempfile.py": f"print('''{FAKE_SUMMARY}''', flush=True); import os; os._exit(0)\n"
    },
    "a sitecustomize.py in src": {
        "src/sitecustomize.py": f"print('''{FAKE_SUMMARY}''', flush=True); import os; os._exit(0)\n"
    },
    "a standard module of its own": {
        "tempfile.py": f"print('''{FAKE_SUMMARY}''', flush=True); import os; os._exit(0)\n"
    },
    "a summary printed on import": {"roman.py": f"print('''{FAKE_SUMMARY}''')\n{BUGGY}"},
    "a summary printed in the test": {"roman.py": BUGGY.replace("return", f"print('''{FAKE_SUMMARY}''')\n    return")},
    "a summary printed at the end": {
        "roman.py": f"import atexit\natexit.register(print, '''{FAKE_SUMMARY}''')\n{BUGGY}"
    },
    "an early exit": {"roman.py": f"import os\nos._exit(0)\n{BUGGY}"},
    "a module that can't be imported": {"roman.py": "(\n"},
}


@pytest.mark.parametrize("files", FAKES.values(), ids=FAKES.keys())
def test_faked_tests_do_not_resolve(task: Task, cache: Path, files: dict[str, str]) -> None:
    assert not after(task, cache, files).resolved


def test_a_file_may_be_named_as_a_part_of_the_script(cache: Path) -> None:
    name = "test_BASE_THEIRS_SHADOWS.py"
    task = finished([Commit(subject="Import", files={"roman.py": BUGGY, name: TESTS})], cache, name)
    assert after(task, cache, {"roman.py": FIXED, name: "def test_nothing(): pass\n"}).resolved


def test_a_test_patch_brings_the_tests_that_decide(task: Task, cache: Path) -> None:
    with open_workspace(task, cache) as sandbox:
        sandbox.write("test_new.py", b"from roman import double\n\n\ndef test_new():\n    assert double(5) == 10\n")
        test_patch = extract_patch(sandbox)
    changes = {"test_patch": test_patch, "FAIL_TO_PASS": ["test_new.py::test_new"], "test_files": ["test_new.py"]}
    wider = task.model_copy(update={**changes, "PASS_TO_PASS": []})
    assert grade(wider, task.patch, cache).resolved
    assert not grade(wider, "", cache).resolved
    assert after(wider, cache, {"roman.py": FIXED, "test_new.py": "def test_new(): assert False\n"}).resolved


def test_code_that_never_ends_does_not_resolve(task: Task, cache: Path) -> None:
    with open_workspace(task, cache) as sandbox:
        sandbox.write("roman.py", BUGGY.replace("return number * 3", "while True: pass").encode())
        patch = extract_patch(sandbox)
    found = grade(task, patch, cache, GRADING.model_copy(update={"seconds": 2.0}))
    assert (found.resolved, found.tests) == (False, {})


def test_a_task_without_tests_is_refused(task: Task, cache: Path) -> None:
    with pytest.raises(UserError, match="task double names no tests"):
        grade(task.model_copy(update={"FAIL_TO_PASS": [], "PASS_TO_PASS": []}), "", cache)


def test_run_tests_sees_the_files_as_they_are(sandbox: Sandbox, task: Task) -> None:
    assert run_tests(sandbox, task)["test_roman.py::test_double"] == "FAILED"
    sandbox.write("roman.py", FIXED.encode())
    assert run_tests(sandbox, task)["test_roman.py::test_double"] == "PASSED"
