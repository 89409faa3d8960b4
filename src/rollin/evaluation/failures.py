"""Why a trajectory did not resolve its task: one reason for each, the first that fits."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

from rollin.store import Exit, TrajectoryRow


class FailureMode(StrEnum):
    """In the order in which they are looked for."""

    FORMAT_ERROR = "format error"
    """Too many messages in a row without exactly one command."""
    ACTION_LOOP = "action loop"
    """The same commands with the same outputs, over and over."""
    LIMIT = "limit reached"
    """Of turns, of tokens or of time, before it submitted."""
    LOST = "lost"
    """Its environment, or the harness that it came from, says so; nothing was graded here."""
    NO_PATCH = "no patch"
    """It submitted, and had changed nothing."""
    NOT_APPLIED = "patch does not apply"
    SYNTAX_ERROR = "syntax error"
    """With its patch, Python can't read the code."""
    RUNTIME_ERROR = "runtime error"
    """With its patch, a test ends with an exception that is no failed assertion, or never ends."""
    WRONG_PATCH = "wrong patch"
    """With its patch, assertions fail, or tests that passed before."""


UNREADABLE = {"SyntaxError", "IndentationError", "TabError"}
ASSERTED = {"AssertionError", "Failed"}
ENDED_BY = {
    Exit.FORMAT_ERRORS: FailureMode.FORMAT_ERROR,
    Exit.ACTION_LOOP: FailureMode.ACTION_LOOP,
    Exit.TURN_LIMIT: FailureMode.LIMIT,
    Exit.CONTEXT_LIMIT: FailureMode.LIMIT,
    Exit.TIME_LIMIT: FailureMode.LIMIT,
    Exit.SANDBOX_LIMIT: FailureMode.LIMIT,
}


def failure_mode(row: TrajectoryRow) -> FailureMode | None:
    """None for one that resolved its task, that the infrastructure ended, or that has no grade yet."""
    if row.resolved is not False or row.exit is None or row.exit is Exit.INFRASTRUCTURE_FAULT:
        return None
    if row.exit in ENDED_BY:
        return ENDED_BY[row.exit]
    grade = row.grade or {}
    if "judged_by" in grade:
        return FailureMode.LOST
    if not row.patch:
        return FailureMode.NO_PATCH
    if not grade.get("patch_applied", True):
        return FailureMode.NOT_APPLIED
    named = grade.get("exceptions")
    exceptions = {str(name) for name in named} if isinstance(named, list) else set[str]()
    if exceptions & UNREADABLE:
        return FailureMode.SYNTAX_ERROR
    if exceptions - ASSERTED or not grade.get("ran", True):
        return FailureMode.RUNTIME_ERROR
    return FailureMode.WRONG_PATCH


def failures(rows: Iterable[TrajectoryRow]) -> Mapping[FailureMode, int]:
    """How many failed how; every mode is named."""
    counts = Counter(mode for row in rows if (mode := failure_mode(row)) is not None)
    return {mode: counts[mode] for mode in FailureMode}
