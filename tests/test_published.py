"""Published data sets as tasks: each in its own columns, from files and as from the hub; what is no task is named."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_rows import (
    AFTER,
    BEFORE,
    FAILING,
    PASSING,
    TEST,
    Row,
    apply,
    commit,
    diff,
    r2e_gym,
    swe_bench,
    swe_gym,
    swe_smith,
    write,
)

from rollin.errors import UserError
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.tasks import specs
from rollin.tasks.published.catalogue import Format
from rollin.tasks.published.columns import Misfit
from rollin.tasks.published.formats import ADAPTERS, as_task
from rollin.tasks.published.reading import Skipped, Source, read, told
from rollin.tasks.repository import build_repository
from rollin.tasks.schema import Task, write_tasks

SUFFIXES = (".jsonl", ".parquet")
SLOW = "[case testSlow]\nint.__call__('a test that was not picked')\n"
SUITE = """
import pathlib, re, unittest
from calc import double


class TypeCheckSuite(unittest.TestCase):
    pass


for data in pathlib.Path("test-data/unit").glob("check-*.test"):
    for name, content in re.findall(r"\\[case (\\w+)\\]\\n(.*)", data.read_text()):
        setattr(TypeCheckSuite, name, lambda self, content=content: self.assertTrue(eval(content)))
"""
"""Makes tests of data files, as mypy's does."""


def tasks_of(path: Path, of: Format | None = None) -> list[Task]:
    found = [*read(Source(str(path), True, of))]
    assert not [row for row in found if isinstance(row, Skipped)]
    return [row for row in found if isinstance(row, Task)]


def skipped(path: Path) -> list[Skipped]:
    return [row for row in read(Source(str(path), True)) if isinstance(row, Skipped)]


# --- each data set's columns ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_swe_bench_holds_test_ids_as_json_and_names_images_by_1776(tmp_path: Path, suffix: str) -> None:
    (task,) = tasks_of(write(tmp_path / f"rows{suffix}", swe_bench()))
    assert (task.FAIL_TO_PASS, task.PASS_TO_PASS) == ([FAILING], [PASSING])
    assert task.image == "swebench/sweb.eval.x86_64.astropy_1776_astropy-1:latest"
    assert (task.repo, task.base_commit, task.version) == ("astropy/astropy", commit(1), "4.3")
    assert (task.test_files, task.source) == (["tests/test_calc.py"], "swe-bench")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_swe_gym_holds_lists_and_names_images_by_s(tmp_path: Path, suffix: str) -> None:
    (task,) = tasks_of(write(tmp_path / f"rows{suffix}", swe_gym()))
    assert (task.FAIL_TO_PASS, task.PASS_TO_PASS) == ([FAILING], [PASSING])
    assert task.image == "xingyaoww/sweb.eval.x86_64.project-monai_s_monai-1:latest"
    assert (task.instance_id, task.source) == ("Project-MONAI__MONAI-1", "swe-gym")


def test_mypys_cases_are_picked_by_their_names(tmp_path: Path) -> None:
    """Its tests are data. Run for real, by the script that is made for them, on a repository of its shape."""
    cases = "[case testOld]\nTrue\n[case testDouble]\ndouble(2) == 4\n"
    row = swe_gym(
        repo="python/mypy",
        test_patch=diff("[case testOld]\nTrue\n", cases, "test-data/unit/check-calc.test"),
        FAIL_TO_PASS=["mypy/test/testcheck.py::TypeCheckSuite::testDouble"],
        PASS_TO_PASS=["mypy/test/testcheck.py::TypeCheckSuite::testOld"],
    )
    (task,) = tasks_of(write(tmp_path / "rows.jsonl", row))
    assert task.test_command == "python -m pytest -n0 -rA -k 'testOld or testDouble'"
    assert task.test_files == ["mypy/test/testcheck.py"]
    files = {"calc.py": BEFORE, "mypy/test/testcheck.py": SUITE}
    files |= {"test-data/unit/check-calc.test": "[case testOld]\nTrue\n", "test-data/unit/check-slow.test": SLOW}
    template, _ = build_repository({name: text.encode() for name, text in files.items()}, [], tmp_path / "cache")
    results = []
    for code in (BEFORE, AFTER):
        with BubblewrapSandbox(template, specs.LIMITS, {"PYTEST_ADDOPTS": "-p xdist.plugin"}) as sandbox:
            sandbox.write("calc.py", code.encode())
            results.append(specs.evaluate(sandbox, task))
    assert [found.report["FAIL_TO_PASS"]["failure"] for found in results] == [row["FAIL_TO_PASS"], []], results
    assert results[1].tests == dict.fromkeys([*row["FAIL_TO_PASS"], *row["PASS_TO_PASS"]], "PASSED")


def test_tests_that_can_not_be_put_back_do_not_grade(tmp_path: Path) -> None:
    """Where git can't check them out, those of the agent would be run."""
    name = "test_KEPT_ADDED.py"
    tests = {"test_files": [name], "FAIL_TO_PASS": [f"{name}::test_it"]}
    task = Task.bare("reset", test_command="python -m pytest -rA", **tests)
    template, _ = build_repository({name: b"def test_it(): assert False\n"}, [], tmp_path / "cache")
    with BubblewrapSandbox(template, specs.LIMITS) as sandbox:
        sandbox.write(name, b"def test_it(): pass\n")
        sandbox.run("touch .git/index.lock")
        found = specs.evaluate(sandbox, task)
        assert "Reset Failed" in found.log
        assert found.report["FAIL_TO_PASS"] == {"success": [], "failure": task.FAIL_TO_PASS}
        sandbox.run("rm .git/index.lock")
        found = specs.evaluate(sandbox, task)
        assert found.tests == {f"{name}::test_it": "FAILED"}, "put back"


def test_a_row_that_says_its_image_is_believed(tmp_path: Path) -> None:
    """As swebench 5 publishes them, in any language, with how they are evaluated."""
    how = {"eval_script": "make test", "log_parser": "parse_log_redis", "eval_type": "pass_and_fail"}
    row = swe_bench(repo="redis/redis", image="swebench/redis:v2", **how)
    (task,) = tasks_of(write(tmp_path / "rows.jsonl", row))
    assert task.image == "swebench/redis:v2"
    assert ADAPTERS[Format.SWE_BENCH](row).items() >= how.items()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_swe_smith_publishes_the_fault_and_the_task_has_the_repair(tmp_path: Path, suffix: str) -> None:
    (task,) = tasks_of(write(tmp_path / f"rows{suffix}", swe_smith()))
    assert apply(task.patch, {"calc.py": BEFORE}, tmp_path / "work") == {"calc.py": AFTER}
    assert task.image == "swebench/swesmith.x86_64.oauthlib_1776_oauthlib.1fd52536"
    assert task.base_commit == "HEAD"  # what the image holds, into which the published patch puts the fault
    fields = ADAPTERS[Format.SWE_SMITH](swe_smith())
    assert apply(str(fields["setup_patch"]), {"calc.py": AFTER}, tmp_path / "work") == {"calc.py": BEFORE}
    assert task.test_files == ["tests/test_calc.py"]


def test_swe_smiths_first_revision_names_a_commit_that_no_image_has_and_half_an_image(tmp_path: Path) -> None:
    old = swe_smith(base_commit=commit(7), image_name="swesmith.x86_64.oauthlib__oauthlib.1fd52536")
    (task,) = tasks_of(write(tmp_path / "rows.jsonl", old))
    assert (task.base_commit, task.setup_patch) == ("HEAD", old["patch"])
    assert task.image == "jyangballin/swesmith.x86_64.oauthlib_1776_oauthlib.1fd52536:latest"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_r2e_gyms_patch_and_test_ids_are_derived(tmp_path: Path, suffix: str) -> None:
    (task,) = tasks_of(write(tmp_path / f"rows{suffix}", r2e_gym()))
    assert task.instance_id == f"aiohttp__{commit(1)}"
    assert (task.base_commit, task.repo) == (f"{commit(1)}^", "aiohttp")
    assert task.problem_statement == "double(1) triples."
    assert apply(task.patch, {"calc.py": BEFORE}, tmp_path / "work") == {"calc.py": AFTER}  # no test, no changelog
    assert task.FAIL_TO_PASS == ["r2e_tests/test_1.py::TestCalc::test_double"]
    assert task.PASS_TO_PASS == ["r2e_tests/test_1.py::TestCalc::test_other"]
    tests = {"r2e_tests/__init__.py": "", "r2e_tests/test_1.py": TEST}
    assert apply(task.test_patch, {}, tmp_path / "work") == tests
    assert task.test_files == ["r2e_tests/test_1.py"]
    assert task.image == f"namanjain12/aiohttp_final:{commit(1)}"


def test_rollins_own_files_are_read_as_they_are(tmp_path: Path) -> None:
    own = Task.bare("mine-1", module="mine", test_command="pytest", FAIL_TO_PASS=["test_a.py::test_a"])
    write_tasks(tmp_path / "own.jsonl", [own])
    assert tasks_of(tmp_path / "own.jsonl") == [own]
    rows = [json.loads(line) for line in (tmp_path / "own.jsonl").read_text().splitlines()]
    assert tasks_of(write(tmp_path / "own.parquet", *rows)) == [own]


def test_the_hubs_name_says_format_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` reads a folder of that name as it reads the hub."""
    folder = tmp_path / "SWE-Gym" / "SWE-Gym" / "data"
    folder.mkdir(parents=True)
    write(folder / "train-00000-of-00001.parquet", swe_gym(1), swe_gym(2, patch="nonsense"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    task, bad = read(Source("SWE-Gym/SWE-Gym", False))
    assert isinstance(task, Task)
    assert (task.source, task.image) == ("SWE-Gym/SWE-Gym", "xingyaoww/sweb.eval.x86_64.project-monai_s_monai-1:latest")
    assert bad == Skipped("Project-MONAI__MONAI-2", "its 'patch' is no patch")
    with pytest.raises(UserError, match=r"SWE-Gym/SWE-Gym can't be had \(Unknown split"):
        [*read(Source("SWE-Gym/SWE-Gym", False, split="nope"))]


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"patch": None}, "its 'patch' is missing"),
        ({"patch": "  "}, "its 'patch' is empty"),
        ({"patch": "I changed a line."}, "its 'patch' is no patch"),
        ({"patch": diff(BEFORE, AFTER).rstrip() + "\n"}, ""),
        ({"patch": diff(BEFORE, AFTER).replace("@@ -1,2 +1,2 @@", "@@ -1,9 +1,9 @@")}, "its 'patch' is no patch"),
        ({"test_patch": "nor is this"}, "its 'test_patch' is no patch"),
        ({"base_commit": None}, "its 'base_commit' is missing"),
        ({"problem_statement": ""}, "its 'problem_statement' is empty"),
        ({"problem_statement": 5}, "its 'problem_statement' is no text"),
        ({"FAIL_TO_PASS": None}, "its 'FAIL_TO_PASS' is missing"),
        ({"FAIL_TO_PASS": "[]"}, "its 'FAIL_TO_PASS' names no test"),
        ({"FAIL_TO_PASS": "[not json"}, "its 'FAIL_TO_PASS' is not JSON"),
        ({"FAIL_TO_PASS": '{"a": 1}'}, "its 'FAIL_TO_PASS' is no list of test ids"),
        ({"FAIL_TO_PASS": '["a", ""]'}, "its 'FAIL_TO_PASS' holds an empty test id"),
        (
            {"problem_statement": "half a pair \ud800"},
            "its 'problem_statement' holds half a surrogate pair, which is no character",
        ),
        ({"FAIL_TO_PASS": "[" * 100_000}, "its 'FAIL_TO_PASS' is not JSON"),
        ({"PASS_TO_PASS": "[1]"}, "its 'PASS_TO_PASS' is no list of test ids"),
        ({"PASS_TO_PASS": "[]"}, ""),
        ({"version": 1.2}, ""),
        ({"hints_text": ["a", "list"]}, "its 'hints_text' is no text"),
        ({"log_parser": "parse_log_x"}, "the installed swebench has no log_parser 'parse_log_x'"),
        ({"eval_type": "fail"}, "the installed swebench has no eval_type 'fail'"),
        (
            {"test_patch": "", "FAIL_TO_PASS": '["test_a (web.T)"]', "PASS_TO_PASS": "[]"},
            "it says nowhere which files hold its tests",
        ),
        (
            {"test_patch": "", "FAIL_TO_PASS": '["test_a (web.T)"]', "PASS_TO_PASS": "[]", "eval_script": "make test"},
            "",
        ),
    ],
)
def test_a_bad_row_is_skipped_by_name(tmp_path: Path, change: Row, reason: str) -> None:
    path = write(tmp_path / "rows.jsonl", swe_bench(1), swe_bench(2, **change))
    assert skipped(path) == ([Skipped("astropy__astropy-2", reason)] if reason else [])


@pytest.mark.parametrize("name", ["FAIL_TO_PASS", "PASS_TO_PASS"])
def test_a_row_of_swe_smith_whose_tests_are_not_pytests_is_skipped(tmp_path: Path, name: str) -> None:
    tests = [FAILING, "test_head (tornado.test.web_test.WebTest)"]
    path = write(tmp_path / "rows.jsonl", swe_smith(1), swe_smith(2, **{name: tests}))
    assert [row.reason for row in skipped(path)] == ["its test ids name no files, as pytest's would"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"parsed_commit_content": "{"}, "its 'parsed_commit_content' is not JSON"),
        ({"parsed_commit_content": "{}"}, "its 'parsed_commit_content' can't be read at file_diffs"),
        ({"parsed_commit_content": '{"file_diffs": []}'}, "its 'patch' is no patch"),
        ({"expected_output_json": "[]"}, "its 'expected_output_json' is no object"),
        (
            {"expected_output_json": '{"TestCalc.test_elsewhere": "PASSED"}'},
            "its log of the repaired commit and its 'expected_output_json' name other tests that pass",
        ),
        ({"commit_hash": None}, "its 'commit_hash' is missing"),
    ],
)
def test_a_row_of_r2e_gym_from_which_nothing_follows_is_skipped(tmp_path: Path, change: Row, reason: str) -> None:
    path = write(tmp_path / "rows.jsonl", r2e_gym(1), r2e_gym(2, **change))
    assert skipped(path) == [Skipped("line 2", reason)]


def test_a_test_file_of_r2e_gym_stays_in_its_folder(tmp_path: Path) -> None:
    row = r2e_gym(2)
    held = json.loads(row["execution_result_content"]) | {"test_file_names": ["../../evil.py"]}
    path = write(tmp_path / "rows.jsonl", r2e_gym(1), row | {"execution_result_content": json.dumps(held)})
    assert [row.reason for row in skipped(path)] == [
        "its 'execution_result_content' names a test file outside their folder"
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_mixed_schemas_do_not_go_through_in_silence(tmp_path: Path, suffix: str) -> None:
    """Also where the stray row comes first."""
    other = swe_bench(4, FAIL_TO_PASS=[FAILING], PASS_TO_PASS=[])
    path = write(tmp_path / f"rows{suffix}", swe_smith(9), *(swe_gym(number) for number in range(3)), other)
    found = [*read(Source(str(path), True))]
    kept = [row.instance_id for row in found if isinstance(row, Task)]
    assert kept == [f"Project-MONAI__MONAI-{number}" for number in range(3)]
    assert told("rows", [row for row in found if isinstance(row, Skipped)]) == [
        "rows: 1 skipped, its columns are of swe-smith, the file's are of swe-gym:"
        " oauthlib__oauthlib.1fd52536.combine_file__9",
        "rows: 1 skipped, its columns are of swe-bench, the file's are of swe-gym: astropy__astropy-4",
    ]


MAKERS = {Format.SWE_BENCH: swe_bench, Format.SWE_GYM: swe_gym, Format.SWE_SMITH: swe_smith, Format.R2E_GYM: r2e_gym}
atoms = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(atoms, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


@given(st.data(), st.sampled_from([*MAKERS]), values, st.booleans())
def test_whatever_a_column_holds_a_row_is_a_task_or_a_misfit(
    data: st.DataObject, of: Format, value: object, as_text: bool
) -> None:
    row = MAKERS[of]()
    changed = data.draw(st.sampled_from([*row]))
    with contextlib.suppress(Misfit):
        task = as_task(row | {changed: json.dumps(value) if as_text else value}, of, "here")
        assert task.FAIL_TO_PASS
        assert Task.model_validate_json(task.model_dump_json()) == task


def test_rows_without_a_name_go_by_their_number_and_many_are_counted(tmp_path: Path) -> None:
    bad = [swe_bench(number, instance_id=None) for number in range(2, 15)]
    path = write(tmp_path / "rows.jsonl", swe_bench(1), *bad)
    (line,) = told("rows", skipped(path), most=3)
    assert line == "rows: 13 skipped, its 'instance_id' is missing: line 2, line 3, line 4 and 10 more"


def test_a_task_that_is_there_twice_is_one(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", swe_bench(1), swe_bench(1))
    assert skipped(path) == [Skipped("astropy__astropy-1", "another row has the same instance_id")]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("gone.jsonl", None, "cannot read the task file"),
        ("gone.parquet", None, "cannot read"),
        ("empty.jsonl", b"\n\n", "holds no task"),
        ("not.parquet", b"PAR1 and then nothing", "is no Parquet file"),
        ("torn.jsonl", b'{"instance_id": ', "line 1: not JSON"),
        ("deep.jsonl", b"[" * 100_000 + b"\n", "line 1: nested too deeply"),
        ("long.jsonl", b"1" * 5000 + b"\n", "line 1: a number is too long for Python"),
        (".", None, "Is a directory"),
        ("latin.jsonl", b"\xff\xfe", "not text in UTF-8"),
        ("list.jsonl", b"[1]\n5\n", "holds no task"),
        ("alien.jsonl", b'{"question": "?", "answer": "!"}\n', "line 1: field 'instance_id'"),
        (
            "half.jsonl",
            b'{"instance_id": "\\ud800", "repo": "", "base_commit": "", "problem_statement": "", "patch": "",'
            b' "FAIL_TO_PASS": [], "PASS_TO_PASS": [], "module": "m"}\n',
            "line 1: it holds a character that no file takes",
        ),
        ("ours.jsonl", b'{"instance_id": "a", "test_command": "pytest"}\n', "line 1: field 'repo': field required"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        [*read(Source(str(tmp_path / name), True))]


def test_a_set_from_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", swe_bench(1, patch="none"), swe_bench(2, patch="none"))
    with pytest.raises(UserError, match=r"holds no task: all 2 rows were skipped \(\S+: its"):
        [*read(Source(str(path), True))]


def test_a_data_set_that_is_not_known_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'SWE-Gym/SWE-Gym'"):
        [*read(Source("SWE-Gym/SWEGym", False))]
