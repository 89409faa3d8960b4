"""Who acts at a turn. Pure functions: nothing here keeps state, and chance is counted, not drawn.

Actor        student or teacher
Draw         names a turn: (seed, iteration, task, attempt, turn); every choice is a function of it
Schedule     a number for each iteration: constant, linear, exponential, list; beta may follow the student's progress
RollIn       the rule that picks the actor: teacher, student, turn mixture (beta), prefix switch (kappa), gate

DAgger mixes turn by turn and AggreVaTe switches once (arXiv 2605.12913, section 3). Iterations count from 1.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LARGEST = 2.0**53
"""Where a schedule that grows without end stays."""


class Actor(StrEnum):
    """Whose action is executed."""

    STUDENT = "student"
    TEACHER = "teacher"


@dataclass(frozen=True)
class Draw:
    """Names one turn of a run. Two runs that agree on it make the same choice, in any order and on any machine."""

    seed: int
    iteration: int
    """1 for the first."""
    instance_id: str
    attempt: int
    turn: int
    """0 for the first."""

    def uniform(self) -> float:
        """This turn's number in [0, 1)."""
        return uniform(self.seed, self.iteration, self.instance_id, self.attempt, self.turn)

    def share(self, learning: int) -> float:
        """This trajectory's number in [0, 1) when another iteration draws whom to learn from; whatever the turn."""
        return _fraction("share", learning, self.seed, self.iteration, self.instance_id, self.attempt)

    def sampling_seed(self) -> int:
        """This turn's seed for a policy's sampling, below 2**63 (the largest that inference servers accept).

        The teacher gets the same seed whether it acts or labels, so a label is what it would have done.
        """
        return _hash("sample", self.seed, self.iteration, self.instance_id, self.attempt, self.turn) >> 1


def training_seed(seed: int, iteration: int) -> int:
    """An iteration's seed for training, below 2**32."""
    return _hash("train", seed, iteration) >> 32


def uniform(seed: int, iteration: int, instance_id: str, attempt: int, turn: int) -> float:
    """A number in [0, 1), evenly spread, that depends on its arguments alone."""
    return _fraction("turn", seed, iteration, instance_id, attempt, turn)


def _fraction(*parts: str | int) -> float:
    # A double holds 53 bits; more would round up to 1.0 now and then.
    return (_hash(*parts) >> 11) * 2.0**-53


def _hash(*parts: str | int) -> int:
    """64 bits. JSON keeps ("a", 11) and ("a1", 1) apart."""
    return int.from_bytes(blake2b(json.dumps(parts).encode(), digest_size=8).digest(), "big")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Constant(_Model):
    """The same value at every iteration."""

    kind: Literal["constant"] = "constant"
    value: float = Field(ge=0)

    def at(self, iteration: int) -> float:
        _from_one(iteration)
        return self.value

    def bounds(self) -> tuple[float, float]:
        return self.value, self.value


class Linear(_Model):
    """`max(floor, start - step * (i - 1))`. The paper's beta has start 1.0, step 0.2, floor 0.6."""

    kind: Literal["linear"] = "linear"
    start: float = Field(default=1.0, ge=0)
    step: float = 0.2
    """Below 0, the value grows: a T_max that starts at 4 and gains 2 an iteration has step -2."""
    floor: float = Field(default=0.0, ge=0)

    def at(self, iteration: int) -> float:
        _from_one(iteration)
        return min(LARGEST, max(self.floor, self.start - self.step * (iteration - 1)))

    def bounds(self) -> tuple[float, float]:
        first = self.at(1)
        return (self.floor, first) if self.step >= 0 else (first, math.inf)


class Exponential(_Model):
    """`start * decay ** (i - 1)`, the schedule of the first DAgger paper (Ross et al., 2011)."""

    kind: Literal["exponential"] = "exponential"
    start: float = Field(default=1.0, ge=0)
    decay: float = Field(default=0.5, ge=0)

    def at(self, iteration: int) -> float:
        _from_one(iteration)
        try:
            return min(LARGEST, self.start * self.decay ** (iteration - 1))
        except OverflowError:  # of the power
            return LARGEST if self.start else 0.0

    def bounds(self) -> tuple[float, float]:
        return (0.0, self.start) if self.decay <= 1 else (self.start, math.inf)


class Listed(_Model):
    """A value written down for each iteration; the last one repeats."""

    kind: Literal["list"] = "list"
    values: list[Annotated[float, Field(ge=0)]] = Field(min_length=1)

    def at(self, iteration: int) -> float:
        _from_one(iteration)
        return self.values[min(iteration, len(self.values)) - 1]

    def bounds(self) -> tuple[float, float]:
        return min(self.values), max(self.values)


class ByProgress(_Model):
    """`max(floor, 1 - r)`: the teacher acts as often as the student fails. r is the student's resolve rate, alone,
    before each iteration, on some of the training tasks that are next."""

    kind: Literal["by_progress"] = "by_progress"
    floor: float = Field(default=0.0, ge=0, le=1)
    tasks: int = Field(default=16, ge=1)
    """How many tasks r is measured on."""

    def at(self, iteration: int) -> float:
        raise ValueError("a beta by progress has no value before the student was measured")

    def bounds(self) -> tuple[float, float]:
        return self.floor, 1.0

    def given(self, rate: float) -> Constant:
        """The schedule for one iteration, when the resolve rate is known."""
        return Constant(value=max(self.floor, 1 - rate))


def _from_one(iteration: int) -> None:
    if iteration < 1:
        raise ValueError(f"iterations count from 1, not {iteration}")


Schedule = Annotated[Constant | Linear | Exponential | Listed, Field(discriminator="kind")]


Beta = Annotated[Constant | Linear | Exponential | Listed | ByProgress, Field(discriminator="kind")]


def _within_one(schedule: Beta) -> Beta:
    if schedule.bounds()[1] > 1:
        raise ValueError("beta is a probability: every value of its schedule must lie between 0 and 1")
    return schedule


Probability = Annotated[Beta, AfterValidator(_within_one)]


class RollIn(Protocol):
    """The rule that decides which states are visited."""

    def actor(self, draw: Draw) -> Actor: ...


class Teacher(_Model):
    """The teacher acts at every turn: the states of SFT."""

    kind: Literal["teacher"] = "teacher"

    def actor(self, draw: Draw) -> Actor:
        return Actor.TEACHER


class Student(_Model):
    """The student acts at every turn: the states of RL and of on-policy distillation, and every evaluation."""

    kind: Literal["student"] = "student"

    def actor(self, draw: Draw) -> Actor:
        return Actor.STUDENT


class TurnMixture(_Model):
    """DAgger: at every turn, independently, the teacher acts with probability beta_i."""

    kind: Literal["turn_mixture"] = "turn_mixture"
    beta: Probability = Linear(start=1.0, step=0.2, floor=0.6)

    def actor(self, draw: Draw) -> Actor:
        return Actor.TEACHER if draw.uniform() < self.beta.at(draw.iteration) else Actor.STUDENT

    def given(self, rate: float) -> "TurnMixture":
        """With a beta that follows progress settled."""
        return TurnMixture(beta=self.beta.given(rate)) if isinstance(self.beta, ByProgress) else self


class PrefixSwitch(_Model):
    """One switch in a trajectory. AggreVaTe-style: the student acts for the first kappa turns, the teacher finishes;
    kappa ~ U{0..T_max(i)}.

    A kappa past the trajectory's end gives a pure rollout of who acts first. With the student first and kappa at T_max
    it is the forward curriculum of TCOD (arXiv 2604.24005), with the teacher first the backward one.
    """

    kind: Literal["prefix_switch"] = "prefix_switch"
    t_max: Schedule
    """Turns, rounded down."""
    first: Actor = Actor.STUDENT
    """Who acts before the switch."""
    kappa: Literal["uniform", "t_max"] = "uniform"
    """Where the switch is: anywhere from 0 to T_max, or at T_max."""

    def switch(self, draw: Draw) -> int:
        """kappa: one number for the whole trajectory, it doesn't depend on `draw.turn`."""
        t_max = int(self.t_max.at(draw.iteration))
        if self.kappa == "t_max":
            return t_max
        return int(_fraction("kappa", draw.seed, draw.iteration, draw.instance_id, draw.attempt) * (t_max + 1))

    def actor(self, draw: Draw) -> Actor:
        second = Actor.TEACHER if self.first is Actor.STUDENT else Actor.STUDENT
        return self.first if draw.turn < self.switch(draw) else second


class Gate(_Model):
    """The state decides: the student proposes an action, and the teacher acts where that is doubtful.

    By uncertainty, as in EnsembleDAgger (Menda et al., 2019); by disagreement, as in SafeDAgger (Zhang and Cho, 2017),
    where every turn waits for the teacher.
    """

    kind: Literal["gate"] = "gate"
    by: Literal["uncertainty", "disagreement"] = "uncertainty"
    """The mean of -log p over the proposal's tokens (nats), or how much of its text and the teacher's label differs
    (0: nothing, 1: all)."""
    threshold: float = Field(ge=0)
    """Above it the teacher acts."""

    def actor(self, draw: Draw) -> Actor:
        return Actor.STUDENT

    def doubt(self, proposal: str, logprobs: Sequence[float] | None, label: str | None) -> float:
        """How doubtful a proposal is. ValueError for one without the log-probabilities or the label that it takes."""
        if self.by == "disagreement":
            if label is None:
                raise ValueError("the teacher has not said what it would do")
            return 1 - SequenceMatcher(None, proposal, label, autojunk=False).ratio()
        if not logprobs:
            raise ValueError("the student gives no log-probabilities of what it proposes")
        return -sum(logprobs) / len(logprobs)


AnyRollIn = Annotated[Teacher | Student | TurnMixture | PrefixSwitch | Gate, Field(discriminator="kind")]
"""A roll-in as a recipe writes it."""
