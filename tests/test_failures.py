"""Why trajectories failed, from what a store has of them and from what pytest prints."""

import pytest

from rollin.evaluation.failures import FailureMode, failure_mode, failures
from rollin.store import Exit, Purpose, TrajectoryRow
from rollin.tasks.grading import Grade

PATCH = "--- a/x\n+++ b/x\n"


def row(ended_by: Exit | None, resolved: bool | None = False, patch: str = PATCH, **grade: object) -> TrajectoryRow:
    return TrajectoryRow(1, "a", 1, 0, Purpose.EVAL, "student", 0, ended_by, patch, resolved, grade or None, 0.0, 1.0)


@pytest.mark.parametrize(
    ("trajectory", "mode"),
    [
        (row(Exit.SUBMITTED, True), None),
        (row(Exit.INFRASTRUCTURE_FAULT, None), None),
        (row(None, None), None),
        (row(Exit.FORMAT_ERRORS), FailureMode.FORMAT_ERROR),
        (row(Exit.ACTION_LOOP, patch=""), FailureMode.ACTION_LOOP),
        (row(Exit.TURN_LIMIT), FailureMode.LIMIT),
        (row(Exit.CONTEXT_LIMIT), FailureMode.LIMIT),
        (row(Exit.SUBMITTED, patch=""), FailureMode.NO_PATCH),
        (row(Exit.SUBMITTED, patch="", judged_by="environment"), FailureMode.LOST),
        (row(Exit.TURN_LIMIT, patch="", judged_by="environment"), FailureMode.LIMIT),
        (row(Exit.SUBMITTED, patch_applied=False), FailureMode.NOT_APPLIED),
        (row(Exit.SUBMITTED, exceptions=["IndentationError", "NameError"]), FailureMode.SYNTAX_ERROR),
        (row(Exit.SUBMITTED, exceptions=["AssertionError", "NameError"]), FailureMode.RUNTIME_ERROR),
        (row(Exit.SUBMITTED, exceptions=[], ran=False), FailureMode.RUNTIME_ERROR),
        (row(Exit.SUBMITTED, exceptions=["AssertionError"], ran=True), FailureMode.WRONG_PATCH),
        (row(Exit.SUBMITTED, exceptions=[], ran=True), FailureMode.WRONG_PATCH),
    ],
)
def test_each_trajectory_has_one_reason(trajectory: TrajectoryRow, mode: FailureMode | None) -> None:
    assert failure_mode(trajectory) is mode
    assert sum(failures([trajectory]).values()) == (mode is not None)


@pytest.mark.parametrize(
    ("log", "named"),
    [
        ("E   NameError: name 'x' is not defined", ["NameError"]),
        ("E       jsonschema.exceptions.ValidationError: 5 is no text", ["ValidationError"]),
        ("E     File \"/repo/a.py\", line 3\nE       def f(\nE   SyntaxError: '(' was never closed", ["SyntaxError"]),
        ("E       assert 1 == 2\nE        +  where 1 = f()", []),
        ("E   AssertionError: assert 'Error' in ''", ["AssertionError"]),
        ("the code under test prints NameError: x", []),
    ],
)
def test_exceptions_are_named_as_pytest_shows_them(log: str, named: list[str]) -> None:
    assert Grade(False, True, log=log).exceptions == named
