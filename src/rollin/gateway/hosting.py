"""A gateway that stands by itself: agents that somebody else runs open and end their trajectories over HTTP.

POST /sessions                {"task": ..., "attempt": 0, "iteration": 1, "seed": 0}  ->  a key and the base URL
POST /sessions/NUMBER/end     {"exit": "submitted", "patch": ..., "resolved": true}
any call with the plain key   what goes on with a conversation belongs to its trajectory, any other begins one

Host      opens and ends trajectories in the store, by one rule for who acts
Wanted    what a session is opened for
Ending    how a trajectory ended
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from rollin.gateway.session import SessionSpec
from rollin.mixture import Actor, RollIn
from rollin.policies.base import Policy, Sampling
from rollin.store import Exit, Purpose, Store
from rollin.tasks.schema import Task

PLAIN = "conversation"
"""The task of what comes with the plain key."""


class AgentTask(BaseModel):
    """A task as an agent of one's own knows it. SWE-bench's fields are kept where there are some."""

    model_config = ConfigDict(extra="allow")

    instance_id: str = Field(min_length=1, max_length=200)
    problem_statement: str = ""

    def task(self) -> Task:
        """With all fields of the schema."""
        return Task.bare(self.instance_id, **self.model_dump(exclude={"instance_id"}))


class Wanted(BaseModel):
    """What a session is opened for."""

    model_config = ConfigDict(extra="forbid")

    task: AgentTask | str
    """A task, or its instance_id alone."""
    attempt: int = Field(default=0, ge=0, lt=2**31)
    iteration: int = Field(default=1, ge=1, lt=2**31)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)

    @property
    def name(self) -> str:
        """The task's."""
        return self.task if isinstance(self.task, str) else self.task.instance_id

    @property
    def whole_task(self) -> Task:
        return (AgentTask(instance_id=self.task) if isinstance(self.task, str) else self.task).task()


class Ending(BaseModel):
    """How a trajectory ended."""

    model_config = ConfigDict(extra="forbid")

    exit: Exit = Exit.SUBMITTED
    patch: str | None = None
    resolved: bool | None = None
    """Whether the task was; None where nobody knows."""


@dataclass(frozen=True)
class Host:
    """Opens and ends trajectories in the store, by one rule for who acts."""

    store: Store
    roll_in: RollIn
    policies: Mapping[Actor, Policy]
    labeller: Policy | None
    sampling: Mapping[Actor, Sampling] = field(default_factory=dict)

    def open(self, wanted: Wanted) -> SessionSpec:
        """The trajectory of that task, attempt and iteration: a new one, or as it was left, to be replayed.

        ValidationError (pydantic's) for a task with a field that is not as it should be. ValueError for a trajectory
        that ended by its own doing: to open it again would lose how.
        """
        task = wanted.whole_task
        self.store.add_tasks([task])
        self.store.begin_iteration(wanted.iteration)
        row = self.store.open_trajectory(
            task.instance_id,
            iteration=wanted.iteration,
            attempt=wanted.attempt,
            purpose=Purpose.COLLECT,
            policy="student",
            seed=wanted.seed,
        )
        if row.exit not in (None, Exit.INFRASTRUCTURE_FAULT):
            raise ValueError(f"trajectory {row.id} has ended ({row.exit})")
        if row.exit:
            row = self.store.reopen_trajectory(row.id)
        task = self.store.task(task.instance_id)
        return SessionSpec(row, task, self.roll_in, self.policies, self.labeller, self.sampling)

    def begin_conversation(self) -> SessionSpec:
        """A new trajectory of the plain key's."""
        return self.open(Wanted(task=PLAIN, attempt=self.store.next_attempt(PLAIN)))

    def end(self, trajectory_id: int, ending: Ending) -> None:
        """Record how it ended."""
        resolved = None if ending.exit is Exit.INFRASTRUCTURE_FAULT else ending.resolved
        grade = None if resolved is None else {"judged_by": "harness"}
        self.store.end_trajectory(trajectory_id, ending.exit, ending.patch, resolved=resolved, grade=grade)
