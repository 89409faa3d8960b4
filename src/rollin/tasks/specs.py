"""Published tasks by SWE-bench's own means: the data set's script, or one in its shape; its parsers, its rules.

A row of SWE-bench holds all of it: `eval_script` puts the tests back, runs them and marks their output, `log_parser`
names who reads it, `eval_type` how it counts. Rows of data sets that have no script (SWE-Gym, SWE-smith) have a
`test_command`; the script is then made here: the test patch's files from the starting commit, the test patch, the
command on the files that hold tests.

As in SWE-bench, and other than for rollin's own tasks, nothing but the tests' files is put back: reference patches
change setup.cfg, too. A patch that brings a conftest.py can change how its tests run.

The same holds in a container and without one: a script's /testbed is there in both.
"""

import importlib
import re
import shlex
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from rollin.errors import InfrastructureFault, Unavailable
from rollin.sandboxes.base import Limits, Sandbox
from rollin.sandboxes.surroundings import PUBLISHED
from rollin.tasks.published.columns import Misfit
from rollin.tasks.published.patches import ended, files_of_tests, touched
from rollin.tasks.schema import Task

LIMITS = Limits(seconds=1800.0, memory_mb=8192, processes=2048, output_kb=64 << 10, disk_mb=4096, cpus=4.0)
"""What one evaluation may use. SWE-bench gives half an hour, and limits nothing else."""

_SETUP = re.compile(
    r"^(?:(?:source|\.) \S*activate\b|conda |(?:python[\d.]* -m )?pip[\d.]* install\b).*\n", re.MULTILINE
)
"""Lines that make an image's environment active, or complete."""
_NOT_PUT_BACK = "echo '>>>>> Reset Failed'"
"""SWE-bench's reader takes no result from a log that says so."""


@dataclass(frozen=True)
class Evaluation:
    """What running a task's tests showed."""

    tests: dict[str, str]
    """Test id -> status; empty where the tests could not run."""
    report: dict[str, dict[str, list[str]]]
    """SWE-bench's."""
    log: str


def evaluate(sandbox: Sandbox, task: Task) -> Evaluation:
    """Put the tests back in a sandbox that holds a patch, and run them. Unavailable where the task doesn't say how."""
    spec = _spec(sandbox, task)
    sandbox.write(".git/eval.sh", spec.eval_script.encode())
    without = " ".join(f"-u {name}" for name in PUBLISHED)  # as SWE-bench's harness would run it
    outcome = sandbox.run(f"env {without} bash .git/eval.sh")
    constants = importlib.import_module("swebench.harness.constants")
    printed = outcome.output + (f"\n{constants.TESTS_TIMEOUT}\n" if outcome.timed_out else "")
    tests, ran = _read(spec, printed)
    report = _report(spec, tests, ran)
    words = [f"stopped after {outcome.seconds:.0f} s"] if outcome.timed_out else []
    words += [] if ran else ["no report of its tests could be read"]
    words += ["its output was cut in the middle"] if outcome.truncated else []
    return Evaluation(tests, report, printed + "".join(f"\n{task.instance_id}: {word}\n" for word in words))


def _spec(sandbox: Sandbox, task: Task) -> Any:
    """SWE-bench's specification of the task."""
    script = task.eval_script or _script(sandbox, task)
    script = without_setup(script) if task.native else script
    row = task.model_dump() | {
        "eval_script": script,
        "log_parser": _one_of(log_parsers(), task.log_parser or "parse_log_pytest", "log_parser", task),
        "eval_type": _one_of(eval_types(), task.eval_type or "pass_and_fail", "eval_type", task),
    }
    make: Callable[[dict[str, object]], Any] = importlib.import_module("swebench.harness.utils").make_test_spec
    return make(row)


def without_setup(script: str) -> str:
    """A published script for an environment that is active and complete: nothing is activated or installed.

    What it holds of a patch begins with a sign or a blank, so no line of that is taken for one of these."""
    return _SETUP.sub("", script)


def log_parsers() -> Collection[str]:
    """The names of those that the installed swebench has."""
    parsers: Collection[str] = importlib.import_module("swebench.harness.log_parsers").PARSER_REGISTRY
    return parsers


def eval_types() -> Collection[str]:
    """The names of those that the installed swebench has."""
    return [kind.value for kind in importlib.import_module("swebench.harness.constants").EvalType]


def _one_of(known: Collection[str], value: str, field: str, task: Task) -> str:
    if value in known:
        return value
    raise Unavailable(
        f"task {task.instance_id}: the installed swebench has no {field} {value!r}; it has {', '.join(sorted(known))}"
    )


def _script(sandbox: Sandbox, task: Task) -> str:
    """An evaluation script for a task that has none. Unavailable where no test files can be found out."""
    try:
        files, changed = where_tests_are(task), touched(task.test_patch)
    except Misfit as misfit:
        raise Unavailable(f"task {task.instance_id}: {misfit}") from misfit
    if not files:
        raise Unavailable(
            f"task {task.instance_id} says nowhere which files hold its tests: give it an eval_script or test_files"
        )
    paths = sorted({*files, *changed})
    held = sandbox.run(f"git --literal-pathspecs ls-tree -r -z --name-only HEAD -- {shlex.join(paths)}", seconds=60.0)
    if held.returncode != 0:
        raise InfrastructureFault(f"task {task.instance_id}: git ls-tree failed: {held.output.strip()[-200:]}")
    kept = {*held.output.split("\0")} - {""}
    sandbox.write(".git/test.patch", ended(task.test_patch).encode())
    added = [path for path in paths if path not in kept and task.test_patch]
    lines = [
        f"git --literal-pathspecs checkout --quiet HEAD -- {shlex.join(sorted(kept))} || {_NOT_PUT_BACK}"
        if kept
        else "",
        f"rm -rf -- {shlex.join(added)}" if added else "",
        f"git apply --whitespace=nowarn .git/test.patch || {_NOT_PUT_BACK}" if task.test_patch else "",
        ": '>>>>> Start Test Output'",
        f"{task.test_command} {shlex.join(files)}",
        ": '>>>>> End Test Output'",
    ]
    return "".join(f"{line}\n" for line in lines if line)


def where_tests_are(task: Task) -> list[str]:
    """Those that the task names, else those of the test patch, else those that the test ids name. Misfit for a test
    patch that is none."""
    named = {test.partition("::")[0] for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS) if "::" in test}
    return task.test_files or files_of_tests(task.test_patch) or sorted(named)


def _read(spec: Any, printed: str) -> tuple[dict[str, str], bool]:
    """(statuses, whether there was a report), by SWE-bench's reader, which wants a file."""
    read = importlib.import_module("swebench.harness.grading").get_logs_eval
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8", errors="replace") as file:
        file.write(printed)
        file.flush()
        statuses, ran = read(spec, file.name)
    return dict(statuses), bool(ran)


def _report(spec: Any, tests: dict[str, str], ran: bool) -> dict[str, dict[str, list[str]]]:
    """Which tests did as expected. Where none ran, all failed, even of a task that reports failures alone."""
    grading = importlib.import_module("swebench.harness.grading")
    kind = grading.EvalType(spec.eval_type) if ran else grading.EvalType.PASS_AND_FAIL
    expected = {"FAIL_TO_PASS": spec.FAIL_TO_PASS, "PASS_TO_PASS": spec.PASS_TO_PASS}
    report: dict[str, dict[str, list[str]]] = grading.get_eval_tests_report(tests, expected, eval_type=kind)
    return report
