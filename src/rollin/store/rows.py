"""The store's vocabulary: how things can stand, and a row of each table.

Purpose, Phase, Exit, LabelStatus, LabelSource    the values of a column, each with its meaning
Label                                             the target for a state, or why there is none
TrajectoryRow, TurnRow, IterationRow, EvaluationRow
Spent                                             what trajectories cost
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rollin.messages import ToolCall, spelled
from rollin.mixture import Actor, Draw
from rollin.policies.base import Action

STUDENT = "student"
"""Whom a trajectory is about (its `policy`), where it is the one who learns."""


class Purpose(StrEnum):
    """What a trajectory is for."""

    COLLECT = "collect"
    EVAL = "eval"
    """On held-out tasks."""
    PROBE = "probe"
    """How the student does alone on training tasks, where the roll-in follows that."""


class Phase(StrEnum):
    """How far an iteration has come."""

    COLLECTING = "collecting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    DONE = "done"


class Exit(StrEnum):
    """Every way in which a trajectory ends."""

    SUBMITTED = "submitted"
    """The agent said that it is done."""
    TURN_LIMIT = "turn_limit"
    FORMAT_ERRORS = "format_errors"
    """Too many messages in a row without exactly one command."""
    ACTION_LOOP = "action_loop"
    """The same command with the same output, over and over."""
    CONTEXT_LIMIT = "context_limit"
    """The conversation outgrew what the acting model can read."""
    TIME_LIMIT = "time_limit"
    SANDBOX_LIMIT = "sandbox_limit"
    """The agent's own program was killed for the memory, the processes or the disk that it used, or ended by a signal
    after its model had had a turn."""
    INFRASTRUCTURE_FAULT = "infrastructure_fault"
    """Nobody's failure: counted apart, in no rate."""


class LabelStatus(StrEnum):
    """Whether a turn has its label."""

    PENDING = "pending"
    """Being asked for, or interrupted while it was."""
    READY = "ready"
    MISSING = "missing"
    """The teacher failed, after retries."""
    INVALID = "invalid"
    """What the teacher said, again and again, was of no use: nothing, an action that was cut off, or calls of tools
    that there are none of."""
    NOT_WANTED = "not_wanted"
    """Evaluation labels nothing, nor does a method that learns from what was executed, nor `rollin serve` without a
    teacher. Of what was collected, `rollin label` asks for it."""


class LabelSource(StrEnum):
    """Where a label came from."""

    EXECUTED = "executed"
    """The teacher acted; its action is the label."""
    BESIDE = "beside"
    """The student acted; the teacher was asked beside it."""


@dataclass(frozen=True)
class Label:
    """The target for a state, or why there is none."""

    status: LabelStatus
    text: str | None = None
    """Its words."""
    source: LabelSource | None = None
    seconds: float = 0.0
    """That the teacher took beside the turn, with what it said before that was of no use; likewise the tokens."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tool_calls: list[ToolCall] = field(default_factory=list)

    @classmethod
    def of(cls, action: Action, source: LabelSource) -> "Label":
        """The teacher's action as a label. An executed action cost nothing on top of its own turn."""
        if source is LabelSource.EXECUTED:
            return cls(LabelStatus.READY, action.content, source, tool_calls=action.tool_calls)
        cost = (action.seconds, action.prompt_tokens, action.completion_tokens)
        return cls(LabelStatus.READY, action.content, source, *cost, action.tool_calls)

    def agrees(self, action: Action) -> bool:
        """Whether an action is the same."""
        return self.text is not None and spelled(self.text, self.tool_calls) == action.text


@dataclass(frozen=True)
class TrajectoryRow:
    """One attempt at a task."""

    id: int
    instance_id: str
    iteration: int
    attempt: int
    purpose: Purpose
    policy: str
    seed: int
    exit: Exit | None
    """None while it is open."""
    patch: str | None
    resolved: bool | None
    """None until graded, and for infrastructure faults."""
    grade: dict[str, object] | None
    started: float
    ended: float | None

    def draw(self, turn: int) -> Draw:
        """Names a turn of this trajectory, for the roll-in and the sampling seed."""
        return Draw(self.seed, self.iteration, self.instance_id, self.attempt, turn)


@dataclass(frozen=True)
class TurnRow:
    """One LLM call: its state, who acted, the action executed, the label."""

    id: int
    trajectory_id: int
    turn: int
    state_id: int
    actor: Actor
    action: Action
    started: float
    label: Label
    sound: bool | None = None
    """Whether the teacher, having seen what came of the action, would leave it alone; None where it was not asked."""
    thread: int = 0
    """Which of the trajectory's conversations: 0 is the one that began first, others are sub-agents'."""
    asked: Mapping[str, object] = field(default_factory=dict)
    """What else the harness asked for (`stop`, `tool_choice`, ...), in OpenAI's names."""


@dataclass(frozen=True)
class Spent:
    """What trajectories cost."""

    turns: int
    teacher_tokens: int
    """That the teacher wrote: its own turns, and labels beside the student's."""


@dataclass(frozen=True)
class IterationRow:
    """One round of collect, aggregate, train, evaluate."""

    number: int
    phase: Phase
    beta: float | None
    checkpoint: str | None
    started: float
    ended: float | None
    metrics: dict[str, object]

    def trained(self, what: str) -> int:
        """A count of its training, such as `labels` or `packed_tokens` (see TrainingResult); 0 before there is one."""
        training = self.metrics.get("training")
        return int(training.get(what, 0)) if isinstance(training, dict) else 0


@dataclass(frozen=True)
class EvaluationRow:
    """How a checkpoint did on a split. `n` leaves the infrastructure's faults out."""

    iteration: int
    checkpoint: str
    policy: str
    split: str
    n: int
    resolved: int
    faults: int
    metrics: dict[str, object]
