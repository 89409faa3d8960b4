"""Hostile repositories and hostile patches: what is extracted, what is graded, and what neither may run."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patch_attacks import EXTRACTION, FORGE, FORGERIES, NO_TESTS, PATCHES, RAN, SLOW, Forgery
from roman_room import BUGGY, FIXED, TESTS, finished

from rollin.sandboxes.base import Sandbox
from rollin.sandboxes.walls import FILES_PER_MB
from rollin.sandboxes.workspace import open_workspace
from rollin.tasks.grading import BY_THE_PATCH, GRADING, extract_patch, grade, grade_in
from rollin.tasks.schema import Commit, Task


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def task(cache: Path) -> Task:
    files = {"roman.py": BUGGY, "latin.txt": "x\n", "tests/__init__.py": "", "tests/test_roman.py": TESTS}
    return finished([Commit(subject="Import", files={**files, "test_roman.py": None})], cache, "tests/test_roman.py")


@pytest.fixture
def sandbox(task: Task, cache: Path) -> Iterator[Sandbox]:
    with open_workspace(task, cache) as made:
        made.write("roman.py", FIXED.encode())
        yield made


LEFT = [
    pytest.param(left, id=name, marks=[pytest.mark.slow] if name in SLOW else []) for name, left in EXTRACTION.items()
]


@pytest.mark.parametrize("left", LEFT)
def test_what_an_agent_leaves_is_not_run_when_its_patch_is_extracted(sandbox: Sandbox, left: str) -> None:
    result = sandbox.run(left, seconds=60.0)
    assert "Traceback" not in result.output
    assert sandbox.run(f"rm -f {RAN}; ls {RAN}").returncode != 0
    begun = time.monotonic()
    patch = extract_patch(sandbox)
    assert time.monotonic() - begun < 50.0, "it waited for something"
    assert not patch or "+    return number * 2" in patch
    assert sandbox.run(f"/bin/ls {RAN}").returncode != 0


@pytest.mark.parametrize("left", ["git's hooks", "names of all bytes, lines and options"])
def test_a_repair_is_found_beside_it(sandbox: Sandbox, left: str, task: Task, cache: Path) -> None:
    sandbox.run(EXTRACTION[left], seconds=60.0)
    assert grade(task, extract_patch(sandbox), cache).resolved


FORGED = [pytest.param(forgery, id=forgery.name) for forgery in FORGERIES]


@pytest.mark.parametrize("forgery", FORGED)
def test_tests_that_were_made_to_pass_do_not_resolve(forgery: Forgery, task: Task, cache: Path) -> None:
    with open_workspace(task, cache) as sandbox:
        for path, text in forgery.files.items():
            sandbox.write(path, text.encode())
        assert sandbox.run(forgery.command).returncode == 0
        patch = extract_patch(sandbox)
    found = grade(task, patch, cache)
    assert not found.resolved
    assert ("FORGED" in found.lacks) == forgery.by_control, found.lacks


@pytest.mark.parametrize("name", ["colorsys.py", "colorsys/__init__.py", "roman.so"])
def test_modules_beside_the_tests_do_not_come_before_pythons_own(name: str, cache: Path) -> None:
    """Tests that lie in a folder with their code, whose name says nothing of tests: pytest looks there first."""
    files = {"app/core/roman.py": BUGGY, "app/core/test_roman.py": f"import colorsys\n{TESTS}"}
    task = finished([Commit(subject="Import", files=files)], cache, "app/core/test_roman.py")
    with open_workspace(task, cache) as sandbox:
        sandbox.write(f"app/core/{name}", FORGE.encode())
        sandbox.write("app/core/statistic.py", b"")
        sandbox.write("app/core/roman.py", FIXED.encode())
        found = grade_in(sandbox, task, "")
        assert sandbox.run("ls app/core/statistic.py").returncode == 0
    assert found.resolved, found.log


def test_new_files_that_come_before_nothing_are_kept(task: Task, cache: Path) -> None:
    kept = ["part/__init__.py", "src/part/__init__.py", "part/org/python.py", "organ/python.py"]
    with open_workspace(task, cache) as sandbox:
        for path in ["roman.py", *kept]:
            sandbox.write(path, FIXED.encode())
        assert grade_in(sandbox, task, "").resolved
        assert sandbox.run(f"ls {' '.join(kept)}").returncode == 0


def test_a_patch_that_fills_the_disk_does_not_keep_the_tests_from_being_put_back(task: Task, cache: Path) -> None:
    """What git can't add it can't put back either."""
    with open_workspace(task, cache) as sandbox:
        sandbox.write("src/sitecustomize.py", FORGE.encode())
        sandbox.run("head -c 34M /dev/zero > zeros; head -c 2M /dev/urandom > random", seconds=60.0)
        patch = extract_patch(sandbox)
    found = grade(task, patch, cache, GRADING.model_copy(update={"disk_mb": 64}))
    assert (found.resolved, found.patch_applied) == (False, False)
    assert "No space left on device" in found.log


def test_a_disk_that_is_full_half_way_leaves_no_tests_of_the_agents(task: Task, cache: Path) -> None:
    """What was changed is in git's index already, so that the first step wants no room; the next one does."""
    with open_workspace(task, cache, GRADING.model_copy(update={"disk_mb": 64})) as sandbox:
        sandbox.write("tests/test_roman.py", NO_TESTS.encode())
        sandbox.run("touch -d '1 minute ago' * tests/*; git add --all --force .", seconds=60.0)
        sandbox.run("head -c 999M /dev/zero > .git/full", seconds=60.0)
        found = grade_in(sandbox, task, "")
    assert (found.resolved, found.tests) == (False, {})
    assert re.search(BY_THE_PATCH, found.log)


def test_a_folder_that_became_a_link_to_itself_is_a_grade_and_no_fault(cache: Path) -> None:
    """What has to be put back lies in it, and can't be removed by its path."""
    files = {"roman.py": BUGGY, "test_roman.py": TESTS, "app/conftest.py": "", "app/core.py": ""}
    task = finished([Commit(subject="Import", files=files)], cache)
    with open_workspace(task, cache) as sandbox:
        sandbox.run("rm -r app; ln -s app app")
        found = grade_in(sandbox, task, "")
    assert (found.resolved, found.tests) == (False, {})
    assert "symbolic links" in found.log


def test_a_patch_of_as_many_files_as_there_may_be_is_a_grade_and_no_fault(task: Task, cache: Path) -> None:
    few = GRADING.model_copy(update={"disk_mb": 64})
    used = "import os; print(sum(p.f_files - p.f_ffree for p in map(os.statvfs, ['/repo', '/tmp', '/dev/shm'])))"
    with open_workspace(task, cache, few) as sandbox:
        left = few.disk_mb * FILES_PER_MB - int(sandbox.run(f'python -c "{used}"').output)
    patch = "".join(f"diff --git a/n{number} b/n{number}\nnew file mode 100644\n" for number in range(left - 2))
    found = grade(task, patch, cache, few)
    assert (found.resolved, found.patch_applied) == (False, True)
    assert "there were more than" in found.log


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES.keys())
def test_a_hostile_patch_is_a_grade_and_touches_nothing(patch: str, task: Task, cache: Path) -> None:
    look, template = "git status --short; git log --oneline; ls -A . /tmp", sorted(cache.rglob("*"))
    with open_workspace(task, cache) as before:
        untouched = before.run(look).output
    assert not grade(task, patch, cache).resolved
    assert not Path("/tmp/rollin-pwned").exists()
    assert sorted(cache.rglob("*")) == template
    with open_workspace(task, cache) as after:
        assert after.run(look).output == untouched
