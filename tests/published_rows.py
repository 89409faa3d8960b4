"""Rows in the columns of published data sets, with content of our own."""

import difflib
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

BEFORE = "def double(x):\n    return x * 3\n"
AFTER = "def double(x):\n    return x * 2\n"
TEST = "from calc import double\n\n\ndef test_double():\n    assert double(2) == 4\n"
FAILING, PASSING = "tests/test_calc.py::test_double", "tests/test_calc.py::test_other"

Row = dict[str, Any]


def diff(before: str, after: str, path: str = "calc.py") -> str:
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{path}", f"b/{path}")
    return f"diff --git a/{path} b/{path}\n{''.join(lines)}"


def commit(number: int) -> str:
    return f"{number:040x}"


def swe_bench(number: int = 1, repo: str = "astropy/astropy", **changed: Any) -> Row:
    """The columns of swebench/types.py: test ids as JSON in a text."""
    row: Row = {
        "repo": repo,
        "instance_id": f"{repo.replace('/', '__')}-{number}",
        "base_commit": commit(number),
        "patch": diff(BEFORE, AFTER),
        "test_patch": diff("", TEST, "tests/test_calc.py"),
        "problem_statement": f"double({number}) triples.",
        "hints_text": "",
        "created_at": "2024-01-01T00:00:00Z",
        "version": "4.3",
        "FAIL_TO_PASS": json.dumps([FAILING]),
        "PASS_TO_PASS": json.dumps([PASSING]),
        "environment_setup_commit": commit(0),
    }
    return row | changed


def swe_gym(number: int = 1, repo: str = "Project-MONAI/MONAI", **changed: Any) -> Row:
    """The columns of its card: test ids as lists, no `environment_setup_commit`."""
    row = swe_bench(number, repo) | {"FAIL_TO_PASS": [FAILING], "PASS_TO_PASS": [PASSING]}
    del row["environment_setup_commit"]
    return row | changed


def swe_smith(number: int = 1, **changed: Any) -> Row:
    """The columns of its card; the patch is the fault's."""
    row: Row = {
        "instance_id": f"oauthlib__oauthlib.1fd52536.combine_file__{number}",
        "patch": diff(AFTER, BEFORE),
        "FAIL_TO_PASS": [FAILING],
        "PASS_TO_PASS": [PASSING],
        "image_name": "swebench/swesmith.x86_64.oauthlib_1776_oauthlib.1fd52536",
        "repo": "swesmith/oauthlib__oauthlib.1fd52536",
        "problem_statement": "double(2) is 6.",
    }
    return row | changed


def r2e_gym(number: int = 1, repo: str = "aiohttp", **changed: Any) -> Row:
    """The columns of R2E-Gym-Lite, as far as anything reads them."""
    logs = {
        "old_commit_res_stdout": "=== short test summary info ===\nPASSED r2e_tests/test_1.py::TestCalc::test_other\n"
        "FAILED r2e_tests/test_1.py::TestCalc::test_double - assert 6 == 4\n",
        "new_commit_res_stdout": "=== short test summary info ===\nPASSED r2e_tests/test_1.py::TestCalc::test_other\n"
        "PASSED r2e_tests/test_1.py::TestCalc::test_double\n",
        "test_file_names": ["test_1.py"],
        "test_file_codes": [TEST],
    }
    lines = [("context", "def double(x):"), ("deleted", "    return x * 3"), ("added", "    return x * 2")]
    hunk = {
        "descriptor": {"old_range": {"start": 1, "length": 2}, "new_range": {"start": 1, "length": 2}, "section": ""},
        "line_group": {"all_lines": [{"type": kind, "content": content} for kind, content in lines]},
    }
    files = [
        {
            "header": {"file": {"path": path}, "misc_line": None},
            "minus_file": {"path": f"a/{path}"},
            "plus_file": {"path": f"b/{path}"},
            "hunks": [hunk],
        }
        for path in ("calc.py", "tests/test_calc.py", "CHANGES.rst")
    ]
    row: Row = {
        "repo_name": repo,
        "docker_image": f"namanjain12/{repo}_final:{commit(number)}",
        "commit_hash": commit(number),
        "parsed_commit_content": json.dumps({"file_diffs": files, "new_commit_hash": commit(number)}),
        "execution_result_content": json.dumps(logs),
        "modified_files": ["calc.py"],
        "relevant_files": ["calc.py"],
        "num_non_test_files": 1,
        "prompt": "Write an issue.",
        "problem_statement": f"[ISSUE]\ndouble({number}) triples.\n[/ISSUE]",
        "expected_output_json": json.dumps({"TestCalc.test_double": "PASSED", "TestCalc.test_other": "PASSED"}),
    }
    return row | changed


def write(path: Path, *rows: Row) -> Path:
    """As Parquet or JSONL, whichever the name says."""
    if path.suffix == ".parquet":
        names = dict.fromkeys(name for row in rows for name in row)  # all of them, null where a row has none
        table = pyarrow.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
        parquet.write_table(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def apply(patch: str, files: dict[str, str], folder: Path) -> dict[str, str]:
    """What git makes of a patch; an AssertionError if it refuses."""
    folder.mkdir(exist_ok=True)
    for path in [*folder.rglob("*")]:
        if path.is_file():
            path.unlink()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode())
    done = subprocess.run(
        ["git", "apply", "--unsafe-paths", "-"], cwd=folder, input=patch.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode() + patch
    return {str(p.relative_to(folder)): p.read_bytes().decode() for p in folder.rglob("*") if p.is_file()}
