"""What a report counts, from the rows of a store.

Evaluation    one measurement: rates by group and overall, and the exits behind them
Training      what training on an iteration's labels did
Tally         counts of turns: who acted, what has a label, who agrees
Iteration     one round of collect, aggregate, train
Cost          calls, tokens and seconds of one kind of asking
Counts        tallies and costs, found by going through all turns once
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rollin.evaluation.failures import FailureMode, failures
from rollin.evaluation.rate import Rate, by_group
from rollin.mixture import Actor
from rollin.store import STUDENT, Exit, IterationRow, LabelSource, LabelStatus, Phase, Purpose, TrajectoryRow, TurnRow
from rollin.tasks.schema import Task

Whose = tuple[Purpose, str, int]
"""Turns of one purpose, policy and iteration."""


@dataclass(frozen=True)
class Evaluation:
    """One policy, alone and greedy, on the held-out tasks."""

    iteration: int
    policy: str
    overall: Rate
    groups: Mapping[str, Rate]
    """`<source> <family>` -> its rate."""
    exits: Mapping[Exit, int]
    failures: Mapping[FailureMode, int]
    under_way: int
    """Trajectories that have not ended, or are not graded yet: in no rate."""
    tally: "Tally"
    """Of its turns; what they compare with is there where evaluation asks for labels."""
    seconds: float | None
    """From the first one's start to the last one's end, pauses of a stopped run included."""

    @property
    def title(self) -> str:
        if self.policy == STUDENT:
            return f"iteration {self.iteration}" if self.iteration else "before"
        return f"{self.policy}, iteration {self.iteration}" if self.iteration else self.policy


@dataclass(frozen=True)
class Training:
    """What the loop wrote down of an iteration's training; None where it did not."""

    loss: float | None
    """Mean over the label tokens, in nats."""
    label_tokens: int | None
    packed_tokens: int | None
    separate_tokens: int | None
    seconds: float | None

    @classmethod
    def of(cls, metrics: Mapping[str, object]) -> "Training":
        written = metrics.get("training")
        known: Mapping[str, object] = written if isinstance(written, dict) else {}
        return cls(
            loss=_number(known.get("loss")),
            label_tokens=_integer(known.get("label_tokens")),
            packed_tokens=_integer(known.get("packed_tokens")),
            separate_tokens=_integer(known.get("separate_tokens")),
            seconds=_number(known.get("seconds")),
        )


@dataclass
class Tally:
    """Counts of turns."""

    turns: int = 0
    teacher_turns: int = 0
    """Turns at which the teacher really acted, which beta only makes probable."""
    labels: int = 0
    labels_missing: int = 0
    """The teacher failed, said nothing of use, or has not answered yet."""
    compared: int = 0
    """Turns at which the student acted and the teacher's label is there."""
    agreeing: int = 0
    """Those of them at which the student's action is the label, letter for letter."""

    def add(self, turn: TurnRow) -> None:
        by_teacher, ready = turn.actor is Actor.TEACHER, turn.label.status is LabelStatus.READY
        self.turns += 1
        self.teacher_turns += by_teacher
        self.labels += ready
        self.labels_missing += turn.label.status not in (LabelStatus.READY, LabelStatus.NOT_WANTED)
        self.compared += ready and not by_teacher
        self.agreeing += ready and not by_teacher and turn.label.agrees(turn.action)

    @property
    def teacher_share(self) -> float | None:
        return self.teacher_turns / self.turns if self.turns else None

    @property
    def agreement(self) -> float | None:
        return self.agreeing / self.compared if self.compared else None


@dataclass(frozen=True)
class Iteration:
    """One round of collect, aggregate, train."""

    number: int
    phase: Phase
    beta: float | None
    trajectories: int
    under_way: int
    collected: Rate
    tally: Tally
    training: Training
    collecting_seconds: float | None
    """As for an evaluation."""


@dataclass
class Cost:
    """What one kind of asking cost. Calls that got no answer are in none."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """Added up over calls that ran at the same time."""

    def add(self, prompt_tokens: int, completion_tokens: int, seconds: float) -> None:
        self.calls += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.seconds += seconds


COSTS = (
    "teacher, acting",
    "teacher, labelling beside",
    "teacher, labelling evaluation",
    "student, collecting",
    "student, evaluating",
    "student, probing",
    "others, evaluating",
)


@dataclass
class Counts:
    """What going through all turns once gives."""

    tallies: dict[Whose, Tally] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)

    def add(self, row: TrajectoryRow, turns: Iterable[TurnRow]) -> None:
        for turn in turns:
            self.tallies.setdefault((row.purpose, row.policy, row.iteration), Tally()).add(turn)
            action, label = turn.action, turn.label
            cost = self.costs.setdefault(_kind(row, turn), Cost())
            cost.add(action.prompt_tokens, action.completion_tokens, action.seconds)
            of_no_use = label.status is LabelStatus.INVALID and turn.actor is Actor.STUDENT
            if label.source is LabelSource.BESIDE or of_no_use:
                learnt = row.purpose is Purpose.COLLECT
                beside = self.costs.setdefault(f"teacher, labelling {'beside' if learnt else 'evaluation'}", Cost())
                beside.add(label.prompt_tokens, label.completion_tokens, label.seconds)
            elif label.prompt_tokens or label.completion_tokens:  # what it said before it acted
                cost.add(label.prompt_tokens, label.completion_tokens, label.seconds)


def _kind(row: TrajectoryRow, turn: TurnRow) -> str:
    if row.purpose is Purpose.COLLECT:
        return "teacher, acting" if turn.actor is Actor.TEACHER else "student, collecting"
    if row.policy != STUDENT:
        return "others, evaluating"
    return "student, evaluating" if row.purpose is Purpose.EVAL else "student, probing"


def evaluations(
    rows: Iterable[TrajectoryRow], tasks: Mapping[str, Task], tallies: Mapping[Whose, Tally]
) -> Iterator[Evaluation]:
    """The student's first, iteration by iteration; then those of others."""
    measured: dict[tuple[bool, str, int], list[TrajectoryRow]] = {}
    for row in rows:
        if row.purpose is Purpose.EVAL:
            measured.setdefault((row.policy != STUDENT, row.policy, row.iteration), []).append(row)
    for (_, policy, iteration), attempts in sorted(measured.items()):
        done = _settled(attempts)
        exits = Counter(row.exit for row in attempts if row.exit is not None)
        yield Evaluation(
            iteration=iteration,
            policy=policy,
            overall=Rate.of(done),
            groups=by_group(done, tasks),
            exits={exit_: exits[exit_] for exit_ in Exit},
            failures=failures(done),
            under_way=len(attempts) - len(done),
            tally=tallies.get((Purpose.EVAL, policy, iteration), Tally()),
            seconds=_span(attempts),
        )


def iteration(row: IterationRow, rows: Iterable[TrajectoryRow], tallies: Mapping[Whose, Tally]) -> Iteration:
    attempts = [t for t in rows if t.iteration == row.number and t.purpose is Purpose.COLLECT]
    done = _settled(attempts)
    return Iteration(
        number=row.number,
        phase=row.phase,
        beta=row.beta,
        trajectories=len(attempts),
        under_way=len(attempts) - len(done),
        collected=Rate.of(done),
        tally=tallies.get((Purpose.COLLECT, STUDENT, row.number), Tally()),
        training=Training.of(row.metrics),
        collecting_seconds=_span(attempts),
    )


def _settled(rows: Iterable[TrajectoryRow]) -> list[TrajectoryRow]:
    """Those whose outcome is known: while a run goes on, some are open and some wait for their grade."""
    return [row for row in rows if row.exit is Exit.INFRASTRUCTURE_FAULT or row.resolved is not None]


def _span(rows: Iterable[TrajectoryRow]) -> float | None:
    times = [(row.started, row.ended) for row in rows if row.ended is not None]
    return max(ended for _, ended in times) - min(started for started, _ in times) if times else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) else None
