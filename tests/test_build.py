"""Building task files: real sandboxes, real tests, a few tasks of each family."""

import importlib.metadata
import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from rollin.errors import UserError
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.tasks import validation
from rollin.tasks.build import Candidate, Order, Rotation, _candidate, build
from rollin.tasks.cache import code_version
from rollin.tasks.cli import app
from rollin.tasks.faults.semantic import SEMANTIC
from rollin.tasks.grading import grade, grade_in, run_tests
from rollin.tasks.makers import AHEAD, TRIES, WINDOW, make_regression
from rollin.tasks.reports import leaks
from rollin.tasks.repository import materialise, repository_shas
from rollin.tasks.schema import Family, Split, Task, read_tasks, write_tasks
from rollin.tasks.sets import BuiltTasks
from rollin.tasks.units import FOLDERS, Unit, katas
from rollin.tasks.workbench import Workbench

COUNT = 3


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tasks(cache: Path) -> dict[Family, list[Task]]:
    families = (Family.VISIBLE, Family.REGRESSION, Family.SEMANTIC)
    return {family: build(Order("kata", family, Split.TRAIN, COUNT), cache).tasks for family in families}


@pytest.mark.parametrize("family", [Family.VISIBLE, Family.REGRESSION, Family.SEMANTIC])
def test_a_built_task_fails_as_it_is_and_is_resolved_by_its_patch(cache, tasks, family):
    assert len(tasks[family]) == COUNT
    for task in tasks[family]:
        assert task.family is family
        assert task.FAIL_TO_PASS
        assert len(task.problem_statement) <= 200
        without = grade(task, "", cache / "repositories")
        assert not without.resolved
        assert all(without.tests.get(name) == "PASSED" for name in task.PASS_TO_PASS)
        assert not any(without.tests.get(name) == "PASSED" for name in task.FAIL_TO_PASS)
        assert grade(task, task.patch, cache / "repositories").resolved


def test_the_order_says_how_many_faults_a_visible_task_holds(cache):
    built = build(Order("kata", Family.VISIBLE, Split.TRAIN, 2, faults=3), cache).tasks
    assert [len(task.fault_kinds) for task in built] == [3, 3]
    with pytest.raises(ValidationError, match="regression family"):
        BuiltTasks(source="kata", family=Family.REGRESSION, count=1, faults=3)


def test_the_order_says_which_kinds_and_that_katas_lie_in_folders(cache):
    wanted = BuiltTasks(
        source="kata", family=Family.VISIBLE, count=3, faults=2, kinds=["missing_quote", "missing_import"], folders=True
    )
    built = build(wanted.order(Split.TRAIN, seed=0), cache).tasks
    assert {kind for task in built for kind in task.fault_kinds} == {"missing_quote", "missing_import"}
    folders = [path.rpartition("/")[0] for task in built for path in task.test_files]
    assert set(folders) <= set(FOLDERS)
    assert len(set(folders)) > 1
    for task in built:
        assert grade(task, task.patch, cache / "repositories").resolved
        assert not any(folder in task.problem_statement for folder in folders)  # what is imported is the module


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"source": "kata", "family": "visible", "kinds": ["missing_quotes"]}, "no kind of visible fault"),
        ({"source": "kata", "family": "semantic", "kinds": ["missing_quote"]}, "no kind of semantic fault"),
        ({"source": "package", "family": "visible", "folders": True}, "for katas only"),
    ],
)
def test_what_can_not_be_built_is_refused(wanted, said):
    with pytest.raises(ValidationError, match=said):
        BuiltTasks(count=1, **wanted)


def test_modules_take_turns_and_ids_differ(tasks):
    for built in tasks.values():
        assert len({task.module for task in built}) == COUNT
        assert len({task.instance_id for task in built}) == COUNT


def test_files_of_one_name_in_two_folders_fail_each_for_itself():
    """parso/tree.py and parso/python/tree.py: who fails often falls out, the other has its turns, and its own draws."""
    paths = ["parso/tree.py", "parso/python/tree.py"]
    units = [Unit("package", "parso", "pypi:parso==1", path, ("test_tree.py",), {}) for path in paths]
    rotation = Rotation(units, Order("package", Family.SEMANTIC, Split.EVAL, 2))
    wave = rotation.next_wave(6, Counter())
    assert len({(visit.unit.name, visit.number) for visit in wave}) == 6
    for visit in wave:
        rotation.note(visit, [], succeeded=visit.unit.path == paths[0])
    assert {visit.unit.path for visit in rotation.next_wave(4, Counter())} == {paths[0]}


def test_a_large_order_asks_a_module_of_a_package_for_several_tasks_at_once():
    def wanted(source: str, count: int) -> list[int]:
        units = [Unit(source, f"m{number}", "", "a.py", ("test_a.py",), {}) for number in range(10)]
        wave = Rotation(units, Order(source, Family.VISIBLE, Split.TRAIN, count)).next_wave(count, Counter())
        return [visit.wanted for visit in wave]

    assert wanted("package", 5) == [1] * 5
    assert wanted("package", 40) == [4] * 8
    assert wanted("package", 41) == [5] * 8
    assert wanted("package", 500) == [8] * 8
    assert wanted("kata", 500) == [1] * 8


@pytest.mark.parametrize("family", [Family.VISIBLE, Family.REGRESSION, Family.SEMANTIC])
def test_what_a_unit_gives_at_once_are_different_tasks(cache, monkeypatch, family):
    monkeypatch.setattr("rollin.tasks.build._of_a_visit", lambda order, units: 3)
    built = build(Order("kata", family, Split.EVAL, 5), cache)
    assert len({task.base_commit for task in built.tasks}) == len(built.seconds) == 5
    assert max(Counter(task.module for task in built.tasks).values()) > 1
    for task in built.tasks:
        assert not grade(task, "", cache / "repositories").resolved
        assert grade(task, task.patch, cache / "repositories").resolved


@pytest.mark.parametrize("family", [Family.VISIBLE, Family.REGRESSION, Family.SEMANTIC])
def test_a_module_that_a_large_order_comes_back_to_tries_no_fault_again(cache, monkeypatch, family):
    monkeypatch.setattr("rollin.tasks.build._of_a_visit", lambda order, units: 2)
    monkeypatch.setattr("rollin.tasks.build.units_of", lambda *_: katas()[:1])
    monkeypatch.setattr("rollin.tasks.build.WAVE", 1)
    visits = []
    monkeypatch.setattr("rollin.tasks.build._candidate", lambda *at: visits.append(_candidate(*at)) or visits[-1])
    built = build(Order("kata", family, Split.EVAL, 8), cache)
    faults = [fault for visit in visits for fault in visit.tried]
    assert len(visits) > 1
    assert built.tasks
    assert len(faults) == len(set(faults)) == sum(built.tried.values())


@pytest.mark.parametrize("source", ["kata", "package"])
def test_a_unit_without_room_for_a_history_is_soon_left(cache, monkeypatch, source):
    monkeypatch.setattr("rollin.tasks.makers.synthesise", lambda *_: None)
    unit = replace(katas()[0], source=source)
    with Workbench(unit, cache / "repositories", wanted=4) as bench:
        made = [*make_regression(bench, tuple(SEMANTIC), random.Random(0))]
        assert len(bench.tried) < WINDOW * AHEAD + TRIES
    assert made == ["no history fits a mutation"]


def test_a_task_that_two_mutations_make_counts_once(cache, tasks, monkeypatch):
    """`range(3)` becomes `range(4)` by a wrong constant, and by an end that is off by one."""
    one, other, third = tasks[Family.SEMANTIC]
    given = iter([Candidate(tasks=[one, one]), Candidate(tasks=[other, one]), Candidate(tasks=[third])])
    monkeypatch.setattr("rollin.tasks.build._candidate", lambda *_: next(given))
    built = build(Order("kata", Family.SEMANTIC, Split.TRAIN, 3), cache)
    assert built.tasks == [one, other, third]
    assert built.dropped == {"the same task was made before": 2}


def test_a_statement_does_not_show_the_repaired_line(tasks):
    for built in tasks.values():
        for task in built:
            added = [line[1:].strip() for line in task.patch.splitlines() if line[:1] == "+" and line[:3] != "+++"]
            assert not leaks(task.problem_statement, added)
            assert not any(kind in task.problem_statement for kind in task.fault_kinds)


def test_each_visible_fault_is_one_line_of_the_patch(tasks):
    for task in tasks[Family.VISIBLE]:
        assert task.patch.count("\n+") - task.patch.count("\n+++") == len(task.fault_kinds)


@pytest.fixture(scope="session")
def passing(cache: Path, tasks: dict[Family, list[Task]]) -> dict[str, bool]:
    """Commit of the first regression's history -> whether all its tests pass."""
    task = tasks[Family.REGRESSION][0]
    template, verdicts = materialise(task, cache / "repositories"), {}
    with BubblewrapSandbox(template) as sandbox:
        for sha in repository_shas(template):
            sandbox.run(f"git reset --quiet --hard {sha}")
            found = run_tests(sandbox, task)
            verdicts[sha] = bool(found) and set(found.values()) == {"PASSED"}
    return verdicts


def test_a_regression_passes_before_its_bad_commit_and_fails_from_there_on(passing):
    verdicts = list(passing.values())
    bad = verdicts.index(False)
    assert verdicts == [True] * bad + [False] * (len(verdicts) - bad)
    assert 2 <= bad < len(verdicts) - 1


def test_going_back_to_before_a_regression_does_not_resolve_it(cache, tasks, passing):
    task = tasks[Family.REGRESSION][0]
    before = [sha for sha, passes in passing.items() if passes][-1]
    command = ["git", "diff", task.base_commit, before]
    template = materialise(task, cache / "repositories")
    patch = subprocess.run(command, cwd=template, capture_output=True, text=True, check=True).stdout
    assert not grade(task, patch, cache / "repositories").resolved


def test_the_same_order_gives_the_same_bytes_whatever_the_workers(tmp_path, tasks):
    order = Order("kata", Family.REGRESSION, Split.TRAIN, COUNT)
    again = build(order, tmp_path, workers=1).tasks
    assert [task.model_dump_json() for task in again] == [task.model_dump_json() for task in tasks[Family.REGRESSION]]


def test_a_second_build_reads_what_the_first_one_made(cache, tasks, monkeypatch):
    monkeypatch.setattr(Workbench, "__init__", lambda *_: pytest.fail("a sandbox was opened"))
    again = build(Order("kata", Family.VISIBLE, Split.TRAIN, COUNT), cache).tasks
    assert again == tasks[Family.VISIBLE]


@pytest.mark.parametrize("changed", ["python", "pytest", "libcst", "walls.py", "grading.py"])
def test_what_another_version_made_is_not_used_again(changed, monkeypatch):
    before, version, content = code_version(), importlib.metadata.version, Path.read_bytes
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version(name) + "x" * (name == changed))
    monkeypatch.setattr(Path, "read_bytes", lambda self: content(self) + b"x" * (self.name == changed))
    monkeypatch.setattr(sys, "version", sys.version + "x" * (changed == "python"))
    assert code_version.__wrapped__() != before


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        (Order("kata", Family.VISIBLE, Split.TRAIN, 0), "at least 1"),
        (Order("kata", Family.OTHER, Split.TRAIN, 1), "can't be built"),
        (Order("moon", Family.VISIBLE, Split.TRAIN, 1), "the sources are kata and package"),
    ],
)
def test_an_impossible_order_is_one_clear_sentence(order, complaint, tmp_path):
    with pytest.raises(UserError, match=complaint):
        build(order, tmp_path)


def test_the_command_builds_lists_and_shows(tmp_path, cache, tasks, monkeypatch):
    monkeypatch.setenv("ROLLIN_CACHE", str(cache))
    run = CliRunner().invoke
    built = run(app, ["build", "--family", "visible", "--train", str(COUNT), "--out", str(tmp_path)])
    assert built.exit_code == 0, built.output
    path = tmp_path / "kata-visible-train.jsonl"
    assert [task.instance_id for task in read_tasks(path)] == [task.instance_id for task in tasks[Family.VISIBLE]]
    assert all(json.loads(line)["split"] == "train" for line in path.read_text().splitlines())
    first = tasks[Family.VISIBLE][0]
    assert f"{COUNT} tasks" in run(app, ["list", str(path)]).output
    assert first.problem_statement in run(app, ["show", first.instance_id, str(path)]).output
    write_tasks(path, [first, first.model_copy(update={"instance_id": f"{first.instance_id}0"})])
    assert first.problem_statement in run(app, ["show", first.instance_id, str(path)]).output


def test_a_number_of_faults_without_the_family_that_has_one_is_refused(tmp_path):
    with pytest.raises(UserError, match="a regression holds one fault"):
        CliRunner().invoke(
            app,
            ["build", "--family", "regression", "--train", "1", "--faults", "2", "--out", str(tmp_path)],
            catch_exceptions=False,
        )
    assert not list(tmp_path.iterdir())


def test_a_statement_may_hold_any_character(tmp_path):
    """JSON needs no escape for some that Python takes for ends of lines."""
    task = Task.bare("mine-1", problem_statement="a\u2028b\x85c\x0bd é")
    (tmp_path / "t.jsonl").write_text(json.dumps(task.model_dump(mode="json"), ensure_ascii=False) + "\n", "utf-8")
    assert read_tasks(tmp_path / "t.jsonl") == [task]
    write_tasks(tmp_path / "again.jsonl", [task])
    assert read_tasks(tmp_path / "again.jsonl") == [task]


def test_a_line_that_is_no_object_is_named_and_a_byte_order_mark_is_none_of_the_task(tmp_path, tasks):
    task = tasks[Family.VISIBLE][0]
    (tmp_path / "t.jsonl").write_text(task.model_dump_json() + "\n", encoding="utf-8-sig")
    assert read_tasks(tmp_path / "t.jsonl") == [task]
    for line in ("null", "[1]", '"a"'):
        (tmp_path / "t.jsonl").write_text(f"{task.model_dump_json()}\n{line}\n")
        with pytest.raises(UserError, match="line 2: not a JSON object"):
            read_tasks(tmp_path / "t.jsonl")


def test_a_path_that_no_repository_holds_is_named(tmp_path, tasks):
    content = json.loads(tasks[Family.REGRESSION][0].model_dump_json())
    for path in ("/etc/x.py", "a//b.py", "../x.py", ".git/hooks/x"):
        content["history"][-1]["files"] = {path: "x"}
        (tmp_path / "t.jsonl").write_text(json.dumps(content) + "\n")
        with pytest.raises(UserError, match=r"line 1: field 'history.*is no path in a repository"):
            read_tasks(tmp_path / "t.jsonl")


def test_what_a_statement_holds_does_not_steer_the_terminal(tmp_path):
    write_tasks(tmp_path / "t.jsonl", [Task.bare("mine-1", problem_statement="\x1b[2Jgone\x07")])
    for command in (["list"], ["show", "mine-1"]):
        shown = CliRunner().invoke(app, [*command, str(tmp_path / "t.jsonl")]).output
        assert "gone" in shown
        assert not {"\x1b", "\x07"} & set(shown)


def test_reference_patches_are_judged_as_agents_are_and_alike_ones_once(cache, tasks, monkeypatch):
    """Of one unit, as a visit makes them: repaired, they are the same."""
    opened = list[str]()
    monkeypatch.setattr(
        validation, "grade_in", lambda box, task, patch: opened.append(task.instance_id) or grade_in(box, task, patch)
    )
    first, other, *_ = (task for task in tasks[Family.SEMANTIC])
    judge = validation.Validation(cache / "repositories")
    again = first.model_copy(update={"FAIL_TO_PASS": first.FAIL_TO_PASS[:1]})
    lost = first.model_copy(update={"PASS_TO_PASS": ["test_nowhere.py::test_it"]})
    assert [judge.resolves(task) for task in (first, again, lost, other)] == [True, True, False, True]
    assert opened == [first.instance_id, other.instance_id]
    assert not judge.resolves(first.model_copy(update={"patch": other.patch})), "it doesn't apply"
    assert not judge.resolves(first.model_copy(update={"patch": ""}))


def test_a_judged_repair_is_not_found_beside_its_task(cache, tasks):
    [task, *_] = tasks[Family.VISIBLE]
    assert validation.Validation(cache / "repositories").resolves(task)
    place = materialise(task, cache / "repositories")
    words = ["git", "-C", str(place), "cat-file", "--batch-all-objects", "--batch"]
    objects = subprocess.run(words, capture_output=True, check=True).stdout.decode(errors="replace")
    repaired = [line[1:] for line in task.patch.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert repaired
    assert not all(line in objects for line in repaired)
