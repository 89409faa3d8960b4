"""One adapter a format: from its columns to a task's fields. All that data sets differ in is here and in r2e_gym.py.

Where each fact is from stands beside it; swebench 5.0.2, swesmith 0.0.9 and mini-swe-agent 2.4.6 are the packages.
"""

import json
import re
import shlex
from collections.abc import Callable, Collection, Mapping

from rollin.tasks import specs
from rollin.tasks.published import r2e_gym
from rollin.tasks.published.catalogue import Format
from rollin.tasks.published.columns import Column, Misfit, Row, optional, some_test_ids, test_ids, text
from rollin.tasks.published.patches import files_of_tests, parse, turned_round
from rollin.tasks.schema import Task

OURS = {"test_command", "test_files", "pristine", "history", "module", "family"}
"""Columns that only rollin's own files have."""
SWE_GYM_REPOSITORIES = {
    *("bokeh/bokeh", "conan-io/conan", "dask/dask", "facebookresearch/hydra", "getmoto/moto", "iterative/dvc"),
    *("modin-project/modin", "pandas-dev/pandas", "project-monai/monai", "pydantic/pydantic", "python/mypy"),
}
"""The eleven that its card counts, as the parsers of its fork of SWE-bench name them."""
_CASE = re.compile(r"\[case ([^\]]+)\]")
"""Begins a test in mypy's data files."""


def _image(prefix: str, instead_of_dunder: str) -> Column:
    """The row's own `image` (swebench 5 publishes that column and runs it, harness/utils.py), or by its id: Docker's
    names may hold no `__`."""

    def read(row: Row) -> str:
        given = optional("image")(row)
        return given or f"{prefix}{text('instance_id')(row).replace('__', instead_of_dunder)}:latest".lower()

    return read


def _smith_image(row: Row) -> str:
    """The column as it is (profiles/base.py makes it `swebench/swesmith...`). The data set's first revision had names
    without an owner, which R2E-Gym completes so (agenthub/runtime/docker.py)."""
    name = text("image_name")(row)
    return name if "/" in name else f"jyangballin/{name.replace('__', '_1776_')}:latest"


def _of_swebench(name: str, known: Callable[[], Collection[str]]) -> Column:
    """A name out of the installed swebench, which grades by it; it may be missing."""

    def read(row: Row) -> str:
        value = optional(name)(row)
        if value and value not in known():
            raise Misfit(f"the installed swebench has no {name} {value!r}")
        return value

    return read


_SWE_BENCH: Mapping[str, Column] = {
    # swebench/types.py
    **{name: text(name) for name in ("instance_id", "repo", "base_commit", "problem_statement", "patch")},
    **{name: optional(name) for name in ("test_patch", "version", "hints_text", "created_at")},
    "environment_setup_commit": optional("environment_setup_commit"),
    # what swebench 5 evaluates by (harness/utils.py, make_test_spec)
    "eval_script": optional("eval_script"),
    "log_parser": _of_swebench("log_parser", specs.log_parsers),
    "eval_type": _of_swebench("eval_type", specs.eval_types),
    # JSON in a text there; lists in SWE-Gym's card. Either is read.
    "FAIL_TO_PASS": some_test_ids("FAIL_TO_PASS"),
    "PASS_TO_PASS": test_ids("PASS_TO_PASS"),
    # mini-swe-agent's run/benchmarks/swebench.py; swebench's image_builder/image_spec.py
    "image": _image("swebench/sweb.eval.x86_64.", "_1776_"),
}
_SWE_GYM = {
    **_SWE_BENCH,
    # "pre-built docker images ... under xingyaoww/sweb.eval.x86_64" (README of SWE-Gym/SWE-Gym); `_s_` as OpenHands'
    # evaluation and mini-swe-agent's users name them
    "image": _image("xingyaoww/sweb.eval.x86_64.", "_s_"),
}
_SWE_SMITH: Mapping[str, Column] = {
    # The card: instance_id, patch, FAIL_TO_PASS, PASS_TO_PASS, image_name, repo, problem_statement
    **{name: text(name) for name in ("instance_id", "repo", "problem_statement")},
    # What the image holds, into which the published patch puts the fault. The commit that rows of the first revision
    # name has it already, and is in a branch of the mirror that no image has fetched (harness/gather.py).
    "base_commit": lambda row: "HEAD",
    "setup_patch": text("patch"),
    # "gold patches = bug patches, so fix = revert" (harness/utils.py)
    "patch": lambda row: turned_round(text("patch")(row)),
    "FAIL_TO_PASS": some_test_ids("FAIL_TO_PASS"),
    "PASS_TO_PASS": test_ids("PASS_TO_PASS"),
    "image": _smith_image,
    "test_files": lambda row: _files_of(some_test_ids("FAIL_TO_PASS")(row), test_ids("PASS_TO_PASS")(row)),
}


def _swe_gym(row: Row) -> dict[str, object]:
    fields = _by(_SWE_GYM)(row)
    return fields | (_of_mypy(row) if text("repo")(row).lower() == "python/mypy" else {})


def _of_mypy(row: Row) -> dict[str, object]:
    """mypy's tests are cases in data files, which pytest picks by their names (`make_test_command` of SWE-Gym's fork;
    the `-n0` that its constants have for some versions keeps each from taking every processor)."""
    cases = dict.fromkeys(_CASE.findall(optional("test_patch")(row)))
    picked = f" -k {shlex.quote(' or '.join(cases))}" if cases else ""
    files = _files_of(some_test_ids("FAIL_TO_PASS")(row), test_ids("PASS_TO_PASS")(row))
    return {"test_command": f"python -m pytest -n0 -rA{picked}", "test_files": files}


def _by(columns: Mapping[str, Column]) -> Callable[[Row], dict[str, object]]:
    return lambda row: {field: column(row) for field, column in columns.items()}


ADAPTERS: Mapping[Format, Callable[[Row], dict[str, object]]] = {
    Format.SWE_BENCH: _by(_SWE_BENCH),
    Format.SWE_GYM: _swe_gym,
    Format.SWE_SMITH: _by(_SWE_SMITH),
    Format.R2E_GYM: r2e_gym.fields,
}


def recognised(row: Row) -> Format | None:
    """The format that a row's columns are those of; None for none that is known."""
    names = {name for name, value in row.items() if value is not None}
    if names & OURS:
        return Format.ROLLIN
    if {"repo_name", "docker_image"} <= names:
        return Format.R2E_GYM
    if "image_name" in names and "test_patch" not in names:
        return Format.SWE_SMITH
    if len(names & {"base_commit", "test_patch", "FAIL_TO_PASS", "patch", "problem_statement"}) < 3:
        return None
    # Their columns are the same, but for one: what is left is whose repository it is.
    of_gym = "environment_setup_commit" not in names and str(row.get("repo")).lower() in SWE_GYM_REPOSITORIES
    return Format.SWE_GYM if of_gym else Format.SWE_BENCH


def as_task(row: Row, of: Format, source: str) -> Task:
    """The task that a row of a published data set holds. Misfit says why it holds none."""
    fields = ADAPTERS[of](row)
    _check_storable(fields)
    parse(str(fields["patch"]), "patch")
    tests = {"test_files": files_of_tests(str(fields.get("test_patch", "")))} | fields
    task = Task.model_validate({**tests, "source": source})
    if not (task.eval_script or specs.where_tests_are(task)):
        raise Misfit("it says nowhere which files hold its tests")
    return task


def _check_storable(fields: Mapping[str, object]) -> None:
    """JSON can spell half a surrogate pair, which no file takes."""
    for name, value in fields.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise Misfit(f"its {name!r} holds half a surrogate pair, which is no character") from error


def _files_of(*ids: list[str]) -> list[str]:
    """The files of pytest's test ids. Misfit for those of another runner (tornado's): pytest reports no such test."""
    tests = [test for each in ids for test in each]
    if not all("::" in test for test in tests):
        raise Misfit("its test ids name no files, as pytest's would")
    return sorted({test.partition("::")[0] for test in tests})
