"""What a run came to, in one small file: all that a comparison needs of it, so that the run itself may be elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from rollin.errors import UserError
from rollin.evaluation.failures import FailureMode, failures
from rollin.evaluation.rate import Rate, group_of
from rollin.files import write_text
from rollin.store import STUDENT, Phase, Purpose, Store


@dataclass(frozen=True)
class Drift:
    """Reverse KL(student || teacher), the mean over the tokens of a student's own trajectories, in nats."""

    iteration: int
    value: float
    low: float
    """The ends of the 95% bootstrap interval over trajectories."""
    high: float
    trajectories: int
    tokens: int


class Result(BaseModel):
    """One run's figures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: dict[str, Any]
    done: bool
    """Whether it has come to its end."""
    groups: dict[str, str]
    """Held-out task -> `<source> <family>`."""
    outcomes: dict[str, bool]
    """Held-out task -> resolved, in the last evaluation. What the infrastructure ended is left out."""
    failures: dict[FailureMode, int]
    """Of the last evaluation."""
    curve: list[tuple[int, Rate]]
    """Of each evaluation: (labels that the student had trained on, the rate)."""
    labels: int
    """That the last iteration trained on."""
    turns: int
    """Collected in the environment."""
    teacher_tokens: int
    """That the teacher wrote, acting and labelling."""
    trained_tokens: int
    """That went through the student in training, of all epochs."""
    seconds: float
    """From the first iteration's beginning to the last one's end, pauses included; 0 while it isn't done."""
    drifts: list[Drift] = []
    """Of each evaluation, where it was measured."""

    @classmethod
    def of(cls, store: Store) -> "Result":
        """So far."""
        recipe: dict[str, Any] = dict(store.recipe())
        rounds = store.iterations()
        trained = {row.number: row.trained("labels") for row in rounds}
        measured = [each for each in store.evaluations() if each.policy == STUDENT]
        rows = store.trajectories(iteration=measured[-1].iteration, purpose=Purpose.EVAL) if measured else []
        spent = store.spent(row.id for row in store.trajectories(purpose=Purpose.COLLECT))
        packed = sum(row.trained("packed_tokens") for row in rounds)
        done = bool(rounds) and rounds[-1].number == recipe["iterations"] and rounds[-1].phase is Phase.DONE
        held_out = {row.instance_id for row in rows}
        tasks = [task for task in store.tasks() if task.instance_id in held_out]
        return cls(
            recipe=recipe,
            done=done,
            groups={task.instance_id: group_of(task) for task in tasks},
            outcomes={row.instance_id: row.resolved for row in rows if row.resolved is not None},
            failures=dict(failures(rows)),
            curve=[(trained[each.iteration], Rate(each.resolved, each.n, each.faults)) for each in measured],
            labels=rounds[-1].trained("labels") if rounds else 0,
            turns=spent.turns,
            teacher_tokens=spent.teacher_tokens,
            trained_tokens=int(packed * recipe["training"]["epochs"]),
            seconds=(rounds[-1].ended or rounds[-1].started) - rounds[0].started if done else 0.0,
        )

    @classmethod
    def read(cls, path: Path) -> "Result":
        """UserError for a file that holds none."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UserError(f"{path} holds no run's result; delete it, and its run is gone on with") from error

    def write(self, path: Path) -> None:
        """Whole or not at all. UserError where it can't be."""
        write_text(path, self.model_dump_json(indent=1), "the result")
