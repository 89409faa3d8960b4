"""One trajectory's side of the gateway: which turn a call is, who acts, what is recorded, what is replayed.

Call            a turn that the harness wants
SessionSpec     what a trajectory needs to know before its first turn
Session         answers the trajectory's calls
SessionReport   how it went
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rollin.errors import ContextOverflow, InfrastructureFault
from rollin.gateway.labels import Labeller, label_of, storable_action, until_usable
from rollin.messages import Message
from rollin.mixture import Actor, Gate, RollIn
from rollin.policies.base import Action, Policy, Request, Sampling
from rollin.store import Label, LabelSource, LabelStatus, Store, TrajectoryRow
from rollin.store.states import state_key
from rollin.tasks.schema import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A turn that the harness wants."""

    turn: int
    messages: list[Message]
    """The state."""
    asked: Mapping[str, object] = field(default_factory=dict)
    """See `Request`."""


@dataclass(frozen=True)
class SessionSpec:
    """What a trajectory needs to know before its first turn."""

    trajectory: TrajectoryRow
    task: Task
    roll_in: RollIn
    policies: Mapping[Actor, Policy]
    """Who answers when the roll-in names them. An evaluation needs one."""
    labeller: Policy | None = None
    """Whom to ask for labels; None labels nothing."""
    sampling: Mapping[Actor, Sampling] = field(default_factory=dict)
    """Greedy where nothing is said. Labels are drawn as the teacher's own actions are."""

    def request(self, call: Call, actor: Actor) -> Request:
        """The question to put to `actor`. The same turn gives the same question in every run of the same seed."""
        return Request(
            messages=call.messages,
            trajectory=str(self.trajectory.id),
            turn=call.turn,
            seed=self.trajectory.draw(call.turn).sampling_seed(),
            sampling=self.sampling.get(actor, Sampling()),
            task=self.task,
            asked=call.asked,
        )


@dataclass(frozen=True)
class SessionReport:
    """How a session went."""

    turns: int
    """Turns answered, those replayed included."""
    replayed: int
    fault: str | None
    """What failed, where a policy or the store did: the trajectory doesn't count."""
    overflowed: bool
    """The conversation outgrew the acting model."""


class Session:
    """Answers the calls of one trajectory, one at a time. Runs on the gateway's event loop."""

    def __init__(self, spec: SessionSpec, store: Store, labels: Labeller) -> None:
        self.spec = spec
        self._store = store
        self._labels = labels
        self._recorded = store.turns(spec.trajectory.id)
        """Committed before this session began: the run was interrupted, and the harness begins again."""
        self._turns = 0
        self._last_state = b""
        self._messages: list[Message] = []
        self._last_action: Action | None = None
        self._fault: str | None = None
        self._overflowed = False
        self._ended = False
        self._turnstile = asyncio.Lock()

    async def answer(self, messages: list[Message], asked: Mapping[str, object] | None = None) -> tuple[int, Action]:
        """The turn's number and its action. Raises ContextOverflow, or InfrastructureFault from then on."""
        async with self._turnstile:
            if self._fault is not None:
                raise InfrastructureFault(self._fault)
            state = state_key(messages)
            if self._last_action is not None and state == self._last_state:
                # A harness that lost the answer repeats its call. Another action here would be a turn that never ran.
                return self._turns - 1, self._last_action
            action = self._replayed() or await self._act(Call(self._turns, messages, asked or {}))
            self._last_state, self._messages, self._last_action = state, messages, action
            self._turns += 1
            return self._turns - 1, action

    def goes_on(self, state: list[Message]) -> int:
        """How many of its messages a state begins with: all of its last state's and what it said there, or its last
        state itself, asked for again; 0 where it is another conversation."""
        before = self._messages
        return len(before) if before and state[: len(before)] == before else 0

    def ask_for_missing_labels(self) -> int:
        """Ask again for what an interrupted run left without a label. Returns how many."""
        unlabelled = [t for t in self._recorded if t.label.status in (LabelStatus.PENDING, LabelStatus.MISSING)]
        if self.spec.labeller is None:
            return 0
        for turn in unlabelled:
            messages = self._store.state_messages(turn.state_id)
            self._labels.ask(self.spec.labeller, self.spec.request(Call(turn.turn, messages), Actor.TEACHER), turn.id)
        return len(unlabelled)

    def end(self) -> None:
        """A call that is still being answered (the harness gave up on it) is not recorded as a turn."""
        self._ended = True

    def report(self) -> SessionReport:
        return SessionReport(self._turns, min(self._turns, len(self._recorded)), self._fault, self._overflowed)

    async def forget(self) -> None:
        """Let every policy free what it keeps for this trajectory, the teacher once its labels are there."""
        trajectory = str(self.spec.trajectory.id)
        policies = list(self.spec.policies.values())
        for policy in policies:
            if policy is not self.spec.labeller:
                policy.forget(trajectory)
        if self.spec.labeller is not None:
            await self._labels.settle(trajectory)
            self.spec.labeller.forget(trajectory)

    def _replayed(self) -> Action | None:
        # The recorded action is executed again even if the state differs a little (a timing in an observation):
        # what the workspace holds is decided by the actions.
        return self._recorded[self._turns].action if self._turns < len(self._recorded) else None

    async def _act(self, call: Call) -> Action:
        started = time.time()
        try:
            actor, action = await self._choose(call)
            if self._ended:
                raise InfrastructureFault("the trajectory has ended meanwhile")
            action = storable_action(action)
            self._record(call, actor, action, started)
        except ContextOverflow:
            self._overflowed = True
            raise
        except Exception as error:
            if not isinstance(error, InfrastructureFault):
                log.exception("trajectory %d, turn %d: not answered", self.spec.trajectory.id, call.turn)
            self._fault = f"turn {call.turn}: {error or type(error).__name__}"
            raise InfrastructureFault(self._fault) from error
        return action

    async def _choose(self, call: Call) -> tuple[Actor, Action]:
        """Who acts, and how. A gate lets the student propose first."""
        gate = self.spec.roll_in
        actor = gate.actor(self.spec.trajectory.draw(call.turn))
        action = await self._ask(actor, call)
        if isinstance(gate, Gate):
            label = await self._ask(Actor.TEACHER, call) if gate.by == "disagreement" else None
            if gate.doubt(action.text, action.logprobs, label.text if label else None) > gate.threshold:
                return Actor.TEACHER, label or await self._ask(Actor.TEACHER, call)
        return actor, action

    async def _ask(self, actor: Actor, call: Call) -> Action:
        policy, request = self.spec.policies[actor], self.spec.request(call, actor)
        try:
            return await (until_usable(policy, request) if actor is Actor.TEACHER else policy.act(request))
        except ContextOverflow:
            raise
        except Exception as error:
            if not isinstance(error, InfrastructureFault):
                log.exception("trajectory %d, turn %d: the %s broke", self.spec.trajectory.id, call.turn, actor)
            raise InfrastructureFault(f"the {actor} could not answer: {error or type(error).__name__}") from error

    def _record(self, call: Call, actor: Actor, action: Action, started: float) -> None:
        teacher = self.spec.labeller
        if teacher is None:
            label = Label(LabelStatus.NOT_WANTED)
        elif actor is Actor.TEACHER:
            label = label_of(action, call.messages, LabelSource.EXECUTED)
        else:
            label = Label(LabelStatus.PENDING)
        # Not in a thread: a commit takes 0.3 ms, and handing it to a thread and back 1 to 6 where the loop is busy.
        trajectory = self.spec.trajectory.id
        row = self._store.record_turn(trajectory, call.turn, call.messages, actor, action, label, started)
        if teacher is not None and label.status is LabelStatus.PENDING:
            self._labels.ask(teacher, self.spec.request(call, Actor.TEACHER), row.id)
