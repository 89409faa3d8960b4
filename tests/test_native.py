"""Published tasks without containers: graded as in one, in an environment that is made once and no task can change."""

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_room import NEW_TESTS, OLD_TESTS, Clone, make_clone, make_task, make_wheels, published_script
from published_rows import diff, swe_bench, swe_smith, write
from scripted import ScriptedPolicy
from typer.testing import CliRunner

from rollin.errors import Unavailable, UserError
from rollin.gateway import Gateway
from rollin.harnesses.mini_swe_agent import MiniSweAgent, MiniSweAgentSettings
from rollin.mixture import Actor, Student
from rollin.rollout import Attempt, Cast, Rollouts
from rollin.sandboxes.base import Limits, Sandbox
from rollin.sandboxes.workspace import open_workspace
from rollin.store import Exit, Purpose, Store, TrajectoryRow
from rollin.tasks.cache import cache_folder
from rollin.tasks.cli import app
from rollin.tasks.grading import grade
from rollin.tasks.native.clones import VARIABLE
from rollin.tasks.native.converting import Terms, converted, read_terms
from rollin.tasks.native.declared import Wants, wants
from rollin.tasks.native.environments import Environments, environments
from rollin.tasks.native.wheels import parts
from rollin.tasks.native.workspaces import spec_of
from rollin.tasks.schema import Environment, Task, read_tasks, write_tasks
from rollin.tasks.specs import without_setup

SMALL = Limits(seconds=60, memory_mb=1024)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone, and a cache of this module's own; pip sees a folder of wheels and no index."""
    folder = tmp_path_factory.mktemp("native")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROLLIN_CACHE", str(folder / "cache"))
        patch.setenv(VARIABLE, str(folder / "clones"))
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(make_wheels(folder / "wheels")))
        yield make_clone(folder / "clones" / "ada__roman")


@pytest.fixture(scope="module")
def task(clone: Clone) -> Task:
    return make_task(clone)


@pytest.fixture(scope="module")
def repositories(clone: Clone) -> Path:
    return cache_folder() / "repositories"


@pytest.fixture
def sandbox(task: Task, repositories: Path) -> Iterator[Sandbox]:
    with open_workspace(task, repositories, SMALL) as fresh:
        yield fresh


# --- grading --------------------------------------------------------------------------------------------------------


def test_the_reference_patch_resolves_and_no_patch_does_not(task: Task, repositories: Path) -> None:
    gold = grade(task, task.patch, repositories)
    assert gold.resolved, gold.log
    empty = grade(task, "", repositories)
    assert not empty.resolved
    assert empty.tests == {"tests/test_roman.py::test_double": "FAILED", "tests/test_roman.py::test_sign": "PASSED"}


def test_a_test_file_may_be_named_in_any_letters_and_its_patch_may_have_lost_its_last_lines_end(
    clone: Clone, repositories: Path
) -> None:
    name = "tests/test_r\u00f6misch.py"
    quoted = "tests/test_r\\303\\266misch.py"  # as git has it
    theirs = make_clone(clone.folder.parent / "ada__zahl", name)
    test_patch = diff(OLD_TESTS, NEW_TESTS, name)
    for side in "ab":
        test_patch = test_patch.replace(f"{side}/{name}", f'"{side}/{quoted}"')
    where = {"repo": "ada/zahl", "pristine": f"git:ada/zahl@{theirs.base}", "PASS_TO_PASS": [f"{name}::test_sign"]}
    task = make_task(theirs, test_patch=test_patch.rstrip("\n"), FAIL_TO_PASS=[f"{name}::test_double"], **where)
    assert grade(task, task.patch.rstrip("\n"), repositories).lacks == ""
    assert not grade(task, "", repositories).resolved


def test_a_test_patch_that_is_none_is_said(task: Task, repositories: Path) -> None:
    broken = task.model_copy(update={"test_patch": "@@ what?"})
    with pytest.raises(Unavailable, match="task ada__roman-1: its 'test_patch' is no patch"):
        grade(broken, "", repositories)


def test_a_published_script_runs_where_there_is_no_conda(task: Task, clone: Clone, repositories: Path) -> None:
    published = task.model_copy(update={"eval_script": published_script(clone)})
    gold, empty = grade(published, task.patch, repositories), grade(published, "", repositories)
    assert (gold.resolved, empty.resolved) == (True, False), gold.log
    assert "conda" not in gold.log
    assert "not found" not in gold.log


def test_the_same_task_runs_in_a_container_where_it_does_not_say_otherwise(task: Task) -> None:
    assert task.native
    assert not task.in_container
    assert task.model_copy(update={"pristine": ""}).in_container


@given(st.lists(st.sampled_from(["+conda activate x", " source activate", "-pip install y", "@@ -1 +1 @@", "+"])))
def test_no_line_of_a_patch_is_taken_for_setting_up(lines: list[str]) -> None:
    patch = "".join(f"{line}\n" for line in lines)
    script = f"source /opt/miniconda3/bin/activate\nconda activate testbed\ncd /testbed\n{patch}pytest -rA\n"
    assert without_setup(script) == f"cd /testbed\n{patch}pytest -rA\n"


# --- what an agent finds --------------------------------------------------------------------------------------------


def test_an_agent_finds_the_past_and_not_the_repair(sandbox: Sandbox, clone: Clone) -> None:
    subjects = sandbox.run("git log --all --format=%s").output.splitlines()
    assert subjects == ["What the build generates", "Break double", "Import"]
    assert sandbox.run(f"git cat-file -e {clone.future}").returncode != 0
    found = sandbox.run("grep -rl 'number [*] 2' / --include=*.py 2> /dev/null").output
    assert found == "", "the environment holds the repaired code"


def test_python_is_the_environments_and_the_code_the_repositorys(sandbox: Sandbox) -> None:
    told = sandbox.run(
        "cd / && python -c 'import sys, roman, numerals, extras, importlib.metadata as m;"
        'print(sys.prefix, roman.__file__, m.version("roman"), roman.DAY)\''
    ).output.split()
    assert told[0].startswith(str(cache_folder() / "environments"))
    assert told[1:] == ["/repo/src/roman/__init__.py", "1.0", "1"]
    assert sandbox.run("which double").output.startswith(told[0])
    assert "No module named" in sandbox.run("python -c 'import torch'").output
    assert sandbox.run("cd /testbed && git rev-parse --show-toplevel").output == "/repo\n"


def test_an_environment_cannot_be_changed_from_inside(sandbox: Sandbox) -> None:
    place = sandbox.run("python -c 'import numerals; print(numerals.__file__)'").output.strip()
    before = Path(place).read_bytes()
    for command in (f"echo SIGN = 7 > {place}", f"rm -f {place}", f"touch $(dirname {place})/sitecustomize.py"):
        outcome = sandbox.run(command)
        assert outcome.returncode != 0
        assert "Read-only file system" in outcome.output
    assert Path(place).read_bytes() == before


def test_what_an_agent_does_is_graded_in_a_sandbox_of_its_own(task: Task, repositories: Path, tmp_path: Path) -> None:
    commands = ["python -m pytest -q", "sed -i 's/number [*] 3/number * 2/' src/roman/__init__.py"]
    commands += ["echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]
    policy = ScriptedPolicy("student", lambda request: f"```bash\n{commands[request.turn]}\n```")
    row = attempt(task, policy, repositories, tmp_path)
    assert (row.exit, row.resolved) == (Exit.SUBMITTED, True)
    assert policy.requests[1].messages[-1]["content"].startswith("."), "its tests did not run"
    assert row.patch is not None
    assert row.patch.count("\n+") == 2


# --- the cache ------------------------------------------------------------------------------------------------------


def test_an_environment_is_made_once(task: Task, repositories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_workspace(task, repositories, SMALL):
        pass
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")  # nothing could be made any more
    fresh = Environments(cache_folder() / "environments")
    assert fresh.prepare(spec_of(task)) == environments(cache_folder() / "environments").prepare(spec_of(task))


def test_commits_with_the_same_metadata_share_an_environment(task: Task, clone: Clone) -> None:
    cache = environments(cache_folder() / "environments")
    later = task.model_copy(update={"pristine": f"git:ada/roman@{clone.future}"})
    assert cache.prepare(spec_of(later)).folder == cache.prepare(spec_of(task)).folder
    pinned = task.model_copy(update={"environment": Environment(requirements=["numerals==1.0"])})
    assert cache.prepare(spec_of(pinned)).folder != cache.prepare(spec_of(task)).folder


def test_what_was_interrupted_is_made_anew_by_one_of_those_that_want_it(task: Task) -> None:
    prepared = environments(cache_folder() / "environments").prepare(spec_of(task))
    (prepared.folder / "ready").unlink()
    shutil.rmtree(prepared.folder / "lib")
    several = [Environments(cache_folder() / "environments") for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        again = [*pool.map(lambda cache: cache.prepare(spec_of(task)), several)]
    assert again == [prepared] * 3
    assert [*prepared.folder.glob("lib/python3*/site-packages/numerals.py")]
    log = next(cache_folder().glob(f"environments/specs/{spec_of(task).digest}/log")).read_text()
    assert log.count("--without-pip") == 1


# --- what can't be had ----------------------------------------------------------------------------------------------


def attempt(task: Task, policy: ScriptedPolicy, repositories: Path, folder: Path) -> TrajectoryRow:
    with Store.create(folder / "run.db", {}) as store, Gateway(store) as gateway:
        store.add_tasks([task])
        harness = MiniSweAgent(MiniSweAgentSettings())
        rollouts = Rollouts(store, gateway, harness, cache_dir=repositories, limits=SMALL, concurrency=1, seed=0)
        cast = Cast("student", Student(), {Actor.STUDENT: policy})
        (row,) = rollouts.run([Attempt(task, 1, Purpose.EVAL)], cast, lambda row: None)
    return row


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"pristine": f"git:ada/greek@{'1' * 40}"}, "there is no clone of ada/greek in .*git clone https://github"),
        ({"pristine": f"git:ada/roman@{'1' * 40}"}, "holds no commit 111111111111: `git fetch` it there"),
        ({"pristine": f"git:../roman@{'1' * 40}"}, "'../roman' names no repository of an owner"),
        ({"environment": Environment(declared=["[docs]"])}, r"the repository has no extra \[docs\]; it has test"),
        ({"environment": Environment(declared=["../x.txt"])}, "the repository has no file of requirements ../x.txt"),
        ({"environment": Environment(requirements=["nothing==9"])}, "pip install failed: .*nothing==9"),
        ({"environment": Environment(python="3.99")}, "there is no python3.99 on the PATH"),
    ],
)
def test_what_cannot_be_had_is_one_sentence_that_names_the_task(
    task: Task, changed: dict[str, object], complaint: str, repositories: Path
) -> None:
    with pytest.raises(Unavailable, match=f"task ada__roman-1: .*{complaint}") as caught:
        open_workspace(task.model_copy(update=changed), repositories, SMALL)
    assert "\n" not in str(caught.value)


def test_a_task_that_cannot_be_had_is_skipped_and_counted_as_a_fault(
    task: Task, repositories: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost = task.model_copy(update={"pristine": f"git:ada/greek@{'1' * 40}"})
    row = attempt(lost, ScriptedPolicy("student", lambda request: "no"), repositories, tmp_path)
    assert (row.exit, row.resolved) == (Exit.INFRASTRUCTURE_FAULT, None)
    assert len([record for record in caplog.records if "no clone of ada/greek" in record.message]) == 1


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"log_parser": "parse_log_x"}, "has no log_parser 'parse_log_x'"),
        ({"eval_type": "fail"}, "has no eval_type 'fail'"),
        ({"test_patch": "", "FAIL_TO_PASS": ["test_a (web.T)"], "PASS_TO_PASS": []}, "says nowhere which files"),
    ],
)
def test_so_is_one_that_cannot_be_graded(
    task: Task,
    changed: dict[str, object],
    complaint: str,
    repositories: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    commands = ["echo '' >> README", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]
    policy = ScriptedPolicy("student", lambda request: f"```bash\n{commands[request.turn]}\n```")
    row = attempt(task.model_copy(update=changed), policy, repositories, tmp_path)
    assert (row.exit, row.resolved) == (Exit.INFRASTRUCTURE_FAULT, None)
    assert len([record for record in caplog.records if complaint in record.message]) == 1


def test_what_is_compiled_is_refused(tmp_path: Path, clone: Clone) -> None:
    wheel = shutil.copy(Path(os.environ["PIP_FIND_LINKS"]) / "numerals-1.0-py3-none-any.whl", tmp_path)
    with pytest.raises(Unavailable, match=r"its numerals.py is not in the folder . of the repository"):
        parts(Path(wheel), {"README"})
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("fast.cpython-311-x86_64-linux-gnu.so", "")
    with pytest.raises(Unavailable, match=r"not of Python alone .fast.cpython-311-x86_64-linux-gnu.so is compiled"):
        parts(Path(wheel), {"numerals.py"})


# --- from a data set's rows -----------------------------------------------------------------------------------------


def test_nativize_writes_tasks_that_run_and_names_those_that_cannot(
    task: Task, clone: Clone, repositories: Path, tmp_path: Path
) -> None:
    columns = ("patch", "test_patch", "problem_statement", "base_commit")
    row = swe_bench(1, "ada/roman", **{name: getattr(task, name) for name in columns})
    row |= {name: json.dumps(getattr(task, name)) for name in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    terms = tmp_path / "terms.yaml"
    terms.write_text("ada/roman: {before: any, log_parser: parse_log_pytest_options}\n")
    rows, out = write(tmp_path / "rows.jsonl", row, swe_bench(2, "ada/greek")), tmp_path / "out.jsonl"
    done = CliRunner().invoke(app, ["nativize", str(rows), "--terms", str(terms), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "ada__greek-2: there is no clone of ada/greek" in done.output
    assert "out.jsonl: 1 tasks, 1 left out" in done.output
    (made,) = read_tasks(out)
    assert (made.pristine, made.log_parser) == (f"git:ada/roman@{clone.base}", "parse_log_pytest_options")
    assert grade(made, made.patch, repositories).resolved


def test_validate_names_what_cannot_be_checked_and_goes_on(task: Task, tmp_path: Path) -> None:
    lost = task.model_copy(update={"instance_id": "ada__greek-2", "pristine": f"git:ada/greek@{'1' * 40}"})
    nothing = task.model_copy(update={"instance_id": "ada__none-3", "FAIL_TO_PASS": [], "PASS_TO_PASS": []})
    write_tasks(tmp_path / "tasks.jsonl", [lost, nothing, task])
    done = CliRunner().invoke(app, ["validate", str(tmp_path / "tasks.jsonl")])
    assert "ada__greek-2: there is no clone of ada/greek" in done.output
    assert "ada__none-3: names no tests" in " ".join(done.output.split())
    assert "1 of 3 tasks are sound; 2 could not be checked" in done.output
    assert done.exit_code == 3


def test_validate_says_which_tests_keep_a_task_from_being_sound(task: Task, tmp_path: Path) -> None:
    lost = task.model_copy(update={"PASS_TO_PASS": [*task.PASS_TO_PASS, "tests/test_roman.py::test_nothing"]})
    write_tasks(tmp_path / "tasks.jsonl", [lost])
    done = CliRunner().invoke(app, ["validate", str(tmp_path / "tasks.jsonl")])
    assert "does not resolve it: tests/test_roman.py::test_nothing did not run" in done.output
    assert done.exit_code == 1


def test_packages_are_those_of_the_commits_day_or_of_its_pythons_youth(task: Task) -> None:
    def before(**terms: str) -> str:
        found = converted([task.model_copy(update={"pristine": ""})], {"ada/roman": Terms.model_validate(terms)})
        return found.tasks[0].environment.before

    assert before(python="3.9") == "2021-05-13"
    assert before(python="3.11") == "2023-01-22"
    assert before(before="2024-01-01") == "2024-01-01"
    assert before(before="any") == ""


def test_terms_of_a_version_come_before_those_of_its_repository(task: Task) -> None:
    terms = {"ada/roman": Terms(before="any"), "ada/roman==2.0": Terms(before="any", test_command="bin/test")}
    versions = [task.model_copy(update={"version": version, "eval_script": "x"}) for version in ("1.0", "2.0")]
    old, new = converted(versions, terms).tasks
    assert (old.test_command, old.eval_script) == (task.test_command, "x")
    assert (new.test_command, new.eval_script) == ("bin/test", "")


def test_a_fault_that_is_put_into_an_image_is_refused(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", swe_smith())
    done = CliRunner().invoke(app, ["nativize", str(rows), "--out", str(tmp_path / "out.jsonl")])
    assert "at a commit that it does not name" in done.output
    assert isinstance(done.exception, UserError)


def test_a_date_may_be_written_as_yaml_has_dates(tmp_path: Path) -> None:
    (tmp_path / "terms.yaml").write_text("a/b: {before: 2021-05-13}\n")
    assert read_terms(tmp_path / "terms.yaml")["a/b"].before == "2021-05-13"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("a/b: {pins: []}", "a/b.pins: extra inputs"), ("- a", "dictionary"), ("a: [", "is not YAML")],
)
def test_terms_that_cannot_be_read_are_one_sentence(content: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "terms.yaml").write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        read_terms(tmp_path / "terms.yaml")
    assert "\n" not in str(caught.value)


def test_declared_are_extras_for_tests_else_files_else_what_developers_want(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "tests.txt").write_text("-r base.txt\n-c pins.txt\n-e .[fast]\n")
    (tmp_path / "requirements" / "base.txt").write_text("attrs # for tests\n")
    (tmp_path / "requirements" / "pins.txt").write_text("attrs<23\n")
    (tmp_path / "requirements-dev.txt").write_text("mypy\n")
    assert wants(tmp_path, ["test", "docs"], None) == Wants(extras=("test",))
    of_file = Wants(("fast",), ("attrs # for tests",), ("attrs<23",))
    assert wants(tmp_path, ["dev", "fast"], None) == of_file
    assert wants(tmp_path, ["fast"], []) == Wants()
    (tmp_path / "requirements" / "base.txt").write_text("-r tests.txt\n")
    with pytest.raises(Unavailable, match=r"no file of requirements requirements/tests.txt"):
        wants(tmp_path, ["fast"], None)
