"""R2E-Gym's rows: a commit as JSON, and what its tests said before and after it.

They name no patch and no test ids. Both are derived: the patch from `parsed_commit_content`, the ids from the two logs
in `execution_result_content`, checked against `expected_output_json`. The models are what is read here of ParsedCommit
(r2egym/commit_models/diff_classes.py in github.com/R2E-Gym/R2E-Gym) and of its ExecutionResult.
"""

import importlib
import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from rollin.tasks.published.columns import Misfit, Row, parsed, text
from rollin.tasks.published.patches import added

TESTS = "r2e_tests"
"""Where R2E-Gym has the tests when it runs them (agenthub/runtime/docker.py)."""
TEST_COMMAND = ".venv/bin/python -W ignore -m pytest -rA"
"""As in its repo_analysis_args.py, but for tornado, whose tests pytest does not run: its rows are skipped."""
_SIGNS = {"context": " ", "added": "+", "deleted": "-", "note": "\\ "}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
Json = TypeVar("Json", bound=BaseModel)


class _Range(BaseModel):
    start: int
    length: int | None = None

    def __str__(self) -> str:
        return f"{self.start}" if self.length is None else f"{self.start},{self.length}"


class _Descriptor(BaseModel):
    old_range: _Range
    new_range: _Range
    section: str = ""


class _Line(BaseModel):
    content: str
    type: str


class _Lines(BaseModel):
    all_lines: list[_Line]


class _Hunk(BaseModel):
    descriptor: _Descriptor
    line_group: _Lines

    def __str__(self) -> str:
        section = f" {self.descriptor.section}" if self.descriptor.section else ""
        lines = [f"{_SIGNS.get(line.type, ' ')}{line.content}\n" for line in self.line_group.all_lines]
        return f"@@ -{self.descriptor.old_range} +{self.descriptor.new_range} @@{section}\n{''.join(lines)}"


class _File(BaseModel):
    path: str


class _Header(BaseModel):
    file: _File
    misc_line: str | None = None


class _FileDiff(BaseModel):
    header: _Header
    minus_file: _File | None = None
    plus_file: _File | None = None
    hunks: list[_Hunk] = []

    @property
    def repairs(self) -> bool:
        """Whether it is part of the repair: Python, and no test."""
        *folders, name = self.header.file.path.split("/")
        of_tests = {"test", "tests"} & {folder.lower() for folder in folders} or name.startswith("test_")
        return name.endswith(".py") and not of_tests and not name.endswith("_test.py")

    def __str__(self) -> str:
        path = self.header.file.path
        lines = [f"diff --git a/{path} b/{path}\n", *([f"{self.header.misc_line}\n"] if self.header.misc_line else [])]
        if self.minus_file and self.plus_file:
            lines += [f"--- {self.minus_file.path}\n", f"+++ {self.plus_file.path}\n"]
        return "".join([*lines, *map(str, self.hunks)])


class _Commit(BaseModel):
    file_diffs: list[_FileDiff]


class _Execution(BaseModel):
    test_file_names: list[str] = []
    test_file_codes: list[str] = []
    old_commit_res_stdout: str | None = None
    new_commit_res_stdout: str | None = None


def fields(row: Row) -> dict[str, object]:
    """A row's part of a task. Misfit where something can't be derived."""
    repo, commit = text("repo_name")(row), text("commit_hash")(row)
    execution = _held(row, "execution_result_content", _Execution)
    failing, passing = _test_ids(row, execution)
    tests = {f"{TESTS}/__init__.py": "", **dict(_tests(execution))}
    return {
        "instance_id": f"{repo}__{commit}",
        "repo": repo,  # its data have no owner
        "base_commit": f"{commit}^",  # as its own `old_commit_hash`
        "problem_statement": _statement(text("problem_statement")(row)),
        "patch": "".join(str(file) for file in _held(row, "parsed_commit_content", _Commit).file_diffs if file.repairs),
        "test_patch": "".join(added(path, code) for path, code in tests.items()),
        "FAIL_TO_PASS": failing,
        "PASS_TO_PASS": passing,
        "test_command": TEST_COMMAND,
        "test_files": sorted(path for path in tests if "/test" in path),
        "image": text("docker_image")(row),
    }


def _held(row: Row, name: str, model: type[Json]) -> Json:
    """What a column holds as JSON in a text."""
    try:
        return model.model_validate(parsed(text(name)(row), name))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Misfit(f"its {name!r} can't be read at {place or 'its top'}") from error


def _statement(said: str) -> str:
    """What stands between [ISSUE] and [/ISSUE], if they are there."""
    found = re.search(r"\[ISSUE\](.*)\[/ISSUE\]", said, re.DOTALL)
    return (found[1] if found else said).strip()


def _test_ids(row: Row, execution: _Execution) -> tuple[list[str], list[str]]:
    """(those that the commit makes pass, those that passed before), in pytest's form. `expected_output_json` names
    tests by class and function alone, so the logs say which they are; where they don't agree, the row is none."""
    expected = parsed(text("expected_output_json")(row), "expected_output_json")
    if not isinstance(expected, dict):
        raise Misfit("its 'expected_output_json' is no object")
    wanted = {_COLOUR.sub("", name).split(" - ")[0] for name, status in expected.items() if status == "PASSED"}
    before, after = (_passed(log) for log in (execution.old_commit_res_stdout, execution.new_commit_res_stdout))
    if {".".join(test.split("::")[1:]) for test in after} != wanted:
        raise Misfit("its log of the repaired commit and its 'expected_output_json' name other tests that pass")
    if not after - before:
        raise Misfit("its logs show no test that the commit makes pass")
    return sorted(after - before), sorted(after & before)


def _passed(log: str | None) -> set[str]:
    """The tests that a log of pytest says have passed, by SWE-bench's parser."""
    _, _, summary = _COLOUR.sub("", log or "").rpartition("short test summary info")
    statuses = importlib.import_module("swebench.harness.log_parsers.python").parse_log_pytest(summary, None)
    return {test for test, status in statuses.items() if status == "PASSED"}


def _tests(execution: _Execution) -> list[tuple[str, str]]:
    names = execution.test_file_names
    if not names or len(names) != len(execution.test_file_codes):
        raise Misfit("its 'execution_result_content' does not hold its test files")
    if any("/" in name or name.startswith(".") for name in names):
        raise Misfit("its 'execution_result_content' names a test file outside their folder")
    return [(f"{TESTS}/{name}", code) for name, code in zip(names, execution.test_file_codes, strict=True)]
