"""Grading: the agent's patch, in a fresh sandbox, judged by SWE-bench's own parser and rules.

What the agent left behind doesn't grade itself: its sandbox is not used again; test files, the folders of tests around
them and everything that configures pytest come from the task. The agent's code runs in the tests' own process, where
it could forge their report: of a task that rollin made the tests run once more in another sandbox, changed so that none
can pass, and a report that says they did is a forged one.
"""

import importlib
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from rollin.errors import InfrastructureFault, UserError
from rollin.sandboxes.base import CommandResult, Limits, Sandbox, as_bytes
from rollin.sandboxes.workspace import open_workspace
from rollin.tasks import control_inside, specs
from rollin.tasks.extraction import FULL
from rollin.tasks.extraction import extract_patch as extract_patch
from rollin.tasks.published.patches import ended
from rollin.tasks.schema import Task

GRADING = Limits(seconds=120.0, output_kb=4096)
"""What one run of a task's tests may use: a report cut in the middle would lose tests."""

CONFIGURATION = (
    *("conftest.py", "sitecustomize.py", "usercustomize.py", "*.pth", "*.pyc", "*.so"),
    *("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "pyproject.toml", "setup.cfg", "tox.ini"),
)
"""Files that can change how tests run, and compiled modules, which Python takes before their source, in any folder.
Grading takes them from the base commit."""
WITHOUT_ATTRIBUTES = "--exclude=.gitattributes --exclude='*/.gitattributes'"
"""What could keep git from seeing the other files that a patch changes is not applied."""
LOOKED_FOR = ("sitecustomize", "usercustomize", "org")
"""Modules that Python runs where there are any. (pickle looks for `org.python`, Jython's: folders are enough.)"""
SHADOWS = f"""
import os, re, sys
from importlib.machinery import PathFinder
folders = ["src", *sys.argv[1:]]
around = ["__init__.py", *(f"{{folder}}/__init__.py" for folder in sys.argv[1:])]
within = rf"(?:(?:{{'|'.join(map(re.escape, folders))}})/)?"
module, pickles = within + r"([^/.]+)(?:/__init__)?(?:[.][^/]*)?", within + "org/python(?:[/.].*)?"
for path in map(os.fsdecode, sys.stdin.buffer.read().split(b"\\0")):
    found = re.fullmatch(module, path)
    name = found[1] if found else ""
    spec = PathFinder.find_spec(name) if name else None
    ahead = name in {LOOKED_FOR} or name in sys.stdlib_module_names or spec and spec.origin
    if ahead or path in [*folders, *around] or re.fullmatch(pickles, path, re.DOTALL):
        sys.stdout.buffer.write(os.fsencode(path) + b"\\0")
"""
"""Of added files, those that Python would find before what it runs on: the standard modules, pytest, all that is
installed (a .pth file imports some of it). It looks in the repository's root first, and in src, as a sandbox's
PYTHONPATH says, and pytest has it look in a folder on the way to the test files: those are its arguments. A package
around the tests is imported before them."""
ROOM_MB = 32
"""What grading may write after a patch. One that leaves less fills the disk."""
CONTROL = ".git/control.py"
OF_TESTS = ("test", "tests")
"""Names of folders that hold nothing but tests: packages, helpers and data that test files import are theirs, too."""

RESTORE = """
set -e
git add --all --force .
git diff --cached --name-only --no-renames -z --diff-filter=AT $base > .git/added
python -I -c "$shadows" "${above[@]}" < .git/added > .git/theirs
git diff --cached --name-only --no-renames -z $base -- "$@" >> .git/theirs
xargs -0 -r git --literal-pathspecs ls-tree -r -z --name-only $base -- < .git/theirs > .git/back
xargs -0 -r rm -rf -- < .git/theirs
[ ! -s .git/back ] ||
    git --literal-pathspecs checkout --quiet $base --pathspec-from-file=.git/back --pathspec-file-nul
"""
"""Puts back `$@`. A step that fails ends it: tests that were put back in part would be run as the agent left the rest.
Names are values of the shell, so that none can be taken for a part of the script."""
BY_THE_PATCH = f"{FULL}|write failure on standard output|Too many levels of symbolic links"
"""Why a step of it may fail by what the patch brought."""
HEADER = re.compile(r"^=+ short test summary info =+\n", re.MULTILINE)
VERDICT = re.compile(r"^(?:=+ )?(\d+ \w+.*) in [\d.]+s", re.MULTILINE)
"""Between these two lines pytest's report tells each test's status. What the code under test prints comes before."""
RAISED = re.compile(r"^E\s+(?:\w+\.)*(\w*(?:Error|Exception|Exit|Interrupt|Failed))\b", re.MULTILINE)
"""An exception as pytest shows it. A failed `assert` may be shown without its name."""


@dataclass(frozen=True)
class Grade:
    """What grading found."""

    resolved: bool
    """All of FAIL_TO_PASS and PASS_TO_PASS pass."""
    patch_applied: bool
    tests: dict[str, str] = field(default_factory=dict)
    """Test id -> PASSED, FAILED, ERROR, SKIPPED, XFAIL, or FORGED; empty where the tests could not run."""
    report: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """SWE-bench's: FAIL_TO_PASS and PASS_TO_PASS, each with `success` and `failure`."""
    log: str = ""
    """What the tests printed, or why the patch did not apply."""
    seconds: float = 0.0

    @property
    def exceptions(self) -> list[str]:
        """The names of those that tests ended with."""
        return sorted({*RAISED.findall(self.log)}) if self.patch_applied else []

    @property
    def lacks(self) -> str:
        """What keeps the task from being resolved, in a few words; "" where it is."""
        if self.resolved:
            return ""
        if not self.patch_applied:
            return self.log.strip()
        if not self.tests:
            return "no report of its tests could be read"
        failed = [test for kind in self.report.values() for test in kind["failure"]]
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        return ", ".join(f"{test} {self.tests.get(test, 'did not run')}" for test in failed[:3]) + more


def grade(task: Task, patch: str, cache_dir: Path, limits: Limits | None = None) -> Grade:
    """Grade `patch` (against the base commit) in a fresh sandbox. InfrastructureFault if that failed by itself."""
    limits = limits or (specs.LIMITS if task.published else GRADING)
    with open_workspace(task, cache_dir, limits) as sandbox:
        found = grade_in(sandbox, task, patch)
    if not found.resolved or task.published:
        return found
    with open_workspace(task, cache_dir, limits) as sandbox:
        return _but_for(found, forged_in(sandbox, task, patch))


def grade_in(sandbox: Sandbox, task: Task, patch: str) -> Grade:
    """Grade in `sandbox`, which has to be fresh: a clean work copy at the base commit."""
    expected = {"FAIL_TO_PASS": task.FAIL_TO_PASS, "PASS_TO_PASS": task.PASS_TO_PASS}
    if not any(expected.values()):
        raise UserError(f"task {task.instance_id} names no tests in FAIL_TO_PASS or PASS_TO_PASS: nothing can grade it")
    started = time.monotonic()
    refusal = _apply(sandbox, patch, "" if task.published else WITHOUT_ATTRIBUTES)
    if refusal:
        words = f"{task.instance_id}: the patch does not apply: {refusal}"
        return Grade(False, False, log=words, seconds=time.monotonic() - started)
    found = specs.evaluate(sandbox, task) if task.published else _evaluate(sandbox, task)
    swebench = importlib.import_module("swebench.harness.grading")
    resolved = swebench.get_resolution_status(found.report) == swebench.ResolvedStatus.FULL.value
    words = found.log + _missing(task, found)
    return Grade(resolved, True, found.tests, found.report, words, time.monotonic() - started)


def forged_in(sandbox: Sandbox, task: Task, patch: str) -> list[str]:
    """The control of a patch that resolves: the same in a fresh sandbox, with tests that can't pass. Those expected
    tests that are told to have passed; all, where nothing is told of any.

    Code that knows of this and reads the tests' files can tell one run from the other; nothing else differs.
    """
    if _apply(sandbox, patch, WITHOUT_ATTRIBUTES) or _restore(sandbox, task):
        raise InfrastructureFault(f"task {task.instance_id}: what was graded can't be made a second time")
    sandbox.write(CONTROL, Path(control_inside.__file__).read_bytes())
    changed = sandbox.run(f"python -I {CONTROL} {shlex.join(task.test_files)}").output.split("\0")
    expected = [each for each in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS) if each.partition("[")[0] in changed]
    told, _ = _run_tests(sandbox, task)
    return [test for test in expected if told.get(test) == "PASSED"] if {*told} & {*expected} else expected


def _but_for(found: Grade, forged: Sequence[str]) -> Grade:
    """A grade in which these tests have not passed."""
    if not forged:
        return found
    report = {
        kind: {
            "success": [test for test in told["success"] if test not in forged],
            "failure": told["failure"] + [test for test in told["success"] if test in forged],
        }
        for kind, told in found.report.items()
    }
    words = f"{found.log}\n{len(forged)} tests are told to have passed where none could: their report is forged\n"
    return replace(found, resolved=False, tests=found.tests | dict.fromkeys(forged, "FORGED"), report=report, log=words)


def _evaluate(sandbox: Sandbox, task: Task) -> specs.Evaluation:
    """The tests of a task that rollin made."""
    refusal = _restore(sandbox, task)
    tests, printed = ({}, refusal) if refusal else _run_tests(sandbox, task)
    expected = {"FAIL_TO_PASS": task.FAIL_TO_PASS, "PASS_TO_PASS": task.PASS_TO_PASS}
    # SWE-bench takes XFAIL for passed, and code under test can say it; of these tests none has it when it is repaired
    held = {test: status for test, status in tests.items() if status != "XFAIL"}
    report = importlib.import_module("swebench.harness.grading").get_eval_tests_report(held, expected)
    return specs.Evaluation(tests, report, printed)


def _missing(task: Task, found: specs.Evaluation) -> str:
    """Expected tests that nothing was heard of: a wrong id in the task looks like this, and so does a broken import."""
    lost = [test for kind in found.report.values() for test in kind["failure"] if test not in found.tests]
    if not lost or not found.tests:
        return ""
    return f"\n{task.instance_id}: {len(lost)} of its tests did not run: {', '.join(lost[:10])}\n"


def run_tests(sandbox: Sandbox, task: Task) -> dict[str, str]:
    """Run the task's tests on the sandbox's files as they are. Test id -> status; empty where they could not run."""
    return _run_tests(sandbox, task)[0]


def _apply(sandbox: Sandbox, patch: str, options: str = "") -> str:
    """Apply a patch. Why git refused, or ""."""
    return _refusal(_git_apply(sandbox, patch, options)) if patch.strip() else ""


def _git_apply(sandbox: Sandbox, patch: str, options: str = "") -> CommandResult:
    sandbox.write(".git/grading.patch", as_bytes(ended(patch)))
    room = f"head -c {ROOM_MB}M /dev/zero > .git/room && rm .git/room"
    return sandbox.run(f"git apply --whitespace=nowarn {options} .git/grading.patch && {room}", seconds=60.0)


def _refusal(outcome: CommandResult) -> str:
    """Why a command failed, or ""."""
    return (outcome.output.strip() or f"exit {outcome.returncode}") if outcome.returncode else ""


def _restore(sandbox: Sandbox, task: Task) -> str:
    """Put back what grades: test files at the base commit with the test patch, their folders, pytest's configuration,
    and what Python would find in place of its own. Why the patch keeps it from being put back, or ""."""
    paths = [f":(literal){path}" for path in (*task.test_files, *_folders_of_tests(task.test_files))]
    theirs = shlex.join([*(f":(glob)**/{name}" for name in CONFIGURATION), *paths])
    above = {str(folder) for path in task.test_files for folder in PurePosixPath(path).parents} - {"."}
    values = f"base={shlex.quote(task.base_commit)} shadows={shlex.quote(SHADOWS)}"
    values += f" above=({shlex.join(sorted(above))}); set -- {theirs}\n"
    outcome = sandbox.run(values + RESTORE, seconds=60.0)
    if outcome.returncode == 0 and task.test_patch.strip():
        outcome = _git_apply(sandbox, task.test_patch)
    refusal = _refusal(outcome)
    if refusal and not (outcome.killed or outcome.timed_out or re.search(BY_THE_PATCH, refusal)):
        raise InfrastructureFault(f"task {task.instance_id}: cannot put its tests back: {refusal[-300:]}")
    return refusal


def _folders_of_tests(files: Sequence[str]) -> list[str]:
    """The outermost one around each file that has one."""
    folders = set[str]()
    for file in files:
        parts = file.split("/")[:-1]
        depth = next((depth for depth, part in enumerate(parts, 1) if part in OF_TESTS), 0)
        folders |= {"/".join(parts[:depth])} - {""}
    return sorted(folders)


def _run_tests(sandbox: Sandbox, task: Task) -> tuple[dict[str, str], str]:
    """The tests' statuses, and all they printed."""
    outcome = sandbox.run(f"{task.test_command} {shlex.join(task.test_files)}")
    return ({} if outcome.timed_out else _parse(outcome.output, outcome.returncode)), outcome.output


def _parse(report: str, exit_code: int) -> dict[str, str]:
    """Statuses by SWE-bench's parser; none where the report can't be what pytest itself wrote.

    The reason of a skip may be of several lines, and look like the report of other tests, or like its end.
    """
    _, *rest = HEADER.split(report)
    verdicts = [*VERDICT.finditer(rest[0])] if len(rest) == 1 else []
    if len(verdicts) != 1:
        return {}
    summary = rest[0][: verdicts[0].start()]
    passed = re.search(r"(\d+) passed", verdicts[0][1])
    if len(re.findall(r"^PASSED ", summary, re.MULTILINE)) != (int(passed[1]) if passed else 0):
        return {}
    parsers = importlib.import_module("swebench.harness.log_parsers.python")
    statuses: dict[str, str] = parsers.parse_log_pytest(summary, None)
    # SWE-bench's own cross-check: a run that exits with an error and reports none did not happen as told
    if exit_code != 0 and not {"FAILED", "ERROR"} & set(statuses.values()):
        return {}
    return statuses
