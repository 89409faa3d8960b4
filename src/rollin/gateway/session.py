"""One trajectory's side of the gateway: which turn a call is, who acts, what is recorded, what is replayed.

Question        names what is asked, so that a call that is repeated is known
Call            a turn that the harness wants
Thread          one conversation of a trajectory
SessionSpec     what a trajectory needs to know before its first turn
Session         answers the trajectory's calls
SessionReport   how it went
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from rollin.errors import ContextOverflow, InfrastructureFault, Refused
from rollin.gateway.labels import Labeller, draws, label_of, storable_action
from rollin.gateway.metrics import Metrics
from rollin.messages import Message
from rollin.mixture import Actor, Gate, RollIn
from rollin.policies.base import Action, Policy, Request, Sampling
from rollin.store import Label, LabelSource, LabelStatus, State, Store, TrajectoryRow, TurnRow
from rollin.store.states import state_key
from rollin.tasks.schema import Task

log = logging.getLogger(__name__)
OPENING = ("tools", "system", "developer")
"""Roles of what a conversation begins with and keeps."""
ANSWERS = 8
"""Of a thread, remembered at once: sub-agents that begin alike share one."""
NOT_AT_ALL = (False, 0)
"""How a state goes on with a conversation that it doesn't begin with."""
Question = tuple[bytes, str]
"""What is asked: a state's key, and what else was asked for. A call that is repeated asks the same."""
UNLABELLED = (LabelStatus.PENDING, LabelStatus.MISSING, LabelStatus.NOT_WANTED)
"""How a turn's label stands that may be asked for: one that was not wanted is, where there is a labeller by now."""


@dataclass(frozen=True)
class Call:
    """A turn that the harness wants."""

    turn: int
    state: State
    asked: Mapping[str, object] = field(default_factory=dict)
    """See `Request`."""
    thread: int = 0


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
            messages=call.state.messages,
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
    """What failed, where a policy or the store did, or what a policy refused at last: the trajectory doesn't count."""
    overflowed: bool
    """The conversation outgrew the acting model, and no call was answered after that."""
    seconds: float
    """How long the session was open."""
    waited: float
    """Seconds that its longest call took, or has taken by now."""


class Thread:
    """One conversation of a trajectory: the agent's own, or that of a sub-agent with a system prompt of its own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.recorded: list[tuple[bytes, TurnRow]] = []
        """Turns that are still to be replayed, with the key of their states."""
        self.state = State()
        """The last one that was answered."""
        self.answers: dict[Question, tuple[int, Action]] = {}
        """The latest, with their turns."""
        self.turnstile = asyncio.Lock()

    def remember(self, question: Question, state: State, answer: tuple[int, Action]) -> None:
        """An answer that was given."""
        self.state = state
        self.answers[question] = answer
        if len(self.answers) > ANSWERS:
            del self.answers[next(iter(self.answers))]

    def goes_on(self, state: list[Message]) -> tuple[bool, int]:
        """See `Session.goes_on`."""
        before = self.state.messages
        following = state[len(before) :]
        if not before or state[: len(before)] != before:
            return NOT_AT_ALL
        if not following:
            return True, len(before)
        *_, (_, action) = self.answers.values()
        answered = following[0] == action.message
        skipped = any(message["role"] == "assistant" for message in following[1:])
        return answered and not skipped, len(before) + answered


def opening(messages: list[Message]) -> bytes:
    """Names a thread: the tools and system messages that its conversations begin with."""
    return state_key([*takewhile(lambda message: message["role"] in OPENING, messages)])


class Session:
    """Answers the calls of one trajectory; of each of its threads one at a time. Runs on the gateway's event loop."""

    def __init__(self, spec: SessionSpec, store: Store, labels: Labeller, metrics: Metrics) -> None:
        self.spec = spec
        self._store = store
        self._labels = labels
        self._metrics = metrics
        self._recorded = store.turns(spec.trajectory.id)
        """Committed before this session began: the run was interrupted, and the harness begins again."""
        self._threads: dict[bytes, Thread] = {}
        for turn in self._recorded:
            state = store.state_messages(turn.state_id)
            thread = self._threads.setdefault(opening(state), Thread(turn.thread))
            thread.recorded.append((state_key(state), turn))
        self._next = max((turn.turn for turn in self._recorded), default=-1) + 1
        """The number of the next turn that is not replayed."""
        self._answered = self._replayed = 0
        self._under_way: list[list[Message]] = []
        """States of the calls that wait for their answer."""
        self._opened = time.monotonic()
        self._since = dict[int, float]()
        """When the turns under way were begun."""
        self._waited = 0.0
        """Seconds that the longest of the others took."""
        self._fault: str | None = None
        self._refused: str | None = None
        """What a policy would not be asked, unless a call was answered after that."""
        self._overflowed = False
        self._ended = False

    async def answer(self, messages: list[Message], asked: Mapping[str, object] | None = None) -> tuple[int, Action]:
        """The turn's number and its action. Raises ContextOverflow; Refused, where the agent may ask otherwise; or
        InfrastructureFault from then on."""
        self._under_way.append(messages)
        try:
            return await self._answer(messages, asked or {})
        finally:
            self._under_way.remove(messages)

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way."""
        return bool(self._under_way)

    @property
    def is_broken(self) -> bool:
        """Whether a policy or the store failed: no call is answered any more."""
        return self._fault is not None

    def is_under_way(self, state: list[Message]) -> bool:
        """Whether a call with this state is."""
        return state in self._under_way

    def goes_on(self, state: list[Message]) -> tuple[bool, int]:
        """How well a state goes on with a thread's last one: (whether as it should, how many messages they share).

        It should by the answer that was given, or be the same once more. Another answer, as of a harness that rewrites
        them, is the second best: it may be another agent's that began alike.
        """
        return max((thread.goes_on(state) for thread in self._threads.values()), default=NOT_AT_ALL)

    def ask_for_missing_labels(self) -> int:
        """Ask for what an interrupted run, or one without a labeller, left without a label. Returns how many."""
        unlabelled = [turn for turn in self._recorded if turn.label.status in UNLABELLED]
        if self.spec.labeller is None:
            return 0
        for turn in unlabelled:
            call = Call(turn.turn, State.of(self._store.state_messages(turn.state_id)), turn.asked)
            self._labels.ask(self.spec.labeller, self.spec.request(call, Actor.TEACHER), turn.id)
        return len(unlabelled)

    def end(self) -> None:
        """A call that is still being answered (the harness gave up on it) is not recorded as a turn."""
        self._ended = True

    def report(self) -> SessionReport:
        now = time.monotonic()
        return SessionReport(
            self._answered,
            self._replayed,
            self._fault or self._refused,
            self._overflowed,
            seconds=now - self._opened,
            waited=max(self._waited, *(now - since for since in self._since.values()), 0.0),
        )

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

    def _thread(self, messages: list[Message]) -> Thread:
        """The thread of a conversation, a new one where none began so."""
        new = max((thread.number for thread in self._threads.values()), default=-1) + 1
        return self._threads.setdefault(opening(messages), Thread(new))

    async def _answer(self, messages: list[Message], asked: Mapping[str, object]) -> tuple[int, Action]:
        thread = self._thread(messages)
        async with thread.turnstile:
            if self._fault is not None:
                raise InfrastructureFault(self._fault)
            state = thread.state.then(messages)
            question = state.key, json.dumps(dict(asked), sort_keys=True)
            # A harness that lost the answer repeats its call. Another action here would be a turn that never ran.
            if question not in thread.answers:
                answer = self._replay(thread, state.key) or await self._act(thread, state, asked)
                thread.remember(question, state, answer)
                self._answered += 1
                self._overflowed, self._refused = False, None  # the agent has condensed it, or asked otherwise
            return thread.answers[question]

    def _replay(self, thread: Thread, key: bytes) -> tuple[int, Action] | None:
        """The recorded turn of this state, else the thread's next one. Its action is executed again even if the state
        differs a little (a timing in an observation): what the workspace holds is decided by the actions."""
        if not thread.recorded:
            return None
        place = next((place for place, (recorded, _) in enumerate(thread.recorded) if recorded == key), 0)
        _, turn = thread.recorded.pop(place)
        self._replayed += 1
        self._metrics.replayed.inc()
        return turn.turn, turn.action

    async def _act(self, thread: Thread, state: State, asked: Mapping[str, object]) -> tuple[int, Action]:
        call = Call(self._next, state, asked, thread.number)
        self._next += 1
        started = time.time()
        self._since[call.turn] = time.monotonic()
        try:
            actor, action, taught = await self._choose(call)
            if self._ended:
                raise InfrastructureFault("the trajectory has ended meanwhile")
            action = storable_action(action)
            self._record(call, actor, action, taught, started)
        except ContextOverflow:
            self._overflowed = True
            raise
        except Refused as refusal:
            self._refused = f"turn {call.turn}: {refusal}"
            raise
        except Exception as error:
            if not isinstance(error, InfrastructureFault):
                log.exception("trajectory %d, turn %d: not answered", self.spec.trajectory.id, call.turn)
            self._fault = f"turn {call.turn}: {error or type(error).__name__}"
            raise InfrastructureFault(self._fault) from error
        finally:
            self._waited = max(self._waited, time.monotonic() - self._since.pop(call.turn))
        return call.turn, action

    async def _choose(self, call: Call) -> tuple[Actor, Action, list[Action]]:
        """Who acts, and how; and what the teacher drew, where it was asked. A gate lets the student propose first."""
        gate = self.spec.roll_in
        actor = gate.actor(self.spec.trajectory.draw(call.turn))
        said = await self._ask(actor, call)
        if not isinstance(gate, Gate):
            return actor, said[-1], said if actor is Actor.TEACHER else []
        taught = await self._ask(Actor.TEACHER, call) if gate.by == "disagreement" else []
        if gate.doubt(said[-1].text, said[-1].logprobs, taught[-1].text if taught else None) <= gate.threshold:
            return actor, said[-1], taught
        taught = taught or await self._ask(Actor.TEACHER, call)
        return Actor.TEACHER, taught[-1], taught

    async def _ask(self, actor: Actor, call: Call) -> list[Action]:
        """All that it drew, its action last."""
        policy, request = self.spec.policies[actor], self.spec.request(call, actor)
        try:
            with self._metrics.asked(actor):
                return await draws(policy, request) if actor is Actor.TEACHER else [await policy.act(request)]
        except (ContextOverflow, Refused):
            raise
        except Exception as error:
            if not isinstance(error, InfrastructureFault):
                log.exception("trajectory %d, turn %d: the %s broke", self.spec.trajectory.id, call.turn, actor)
            raise InfrastructureFault(f"the {actor} could not answer: {error or type(error).__name__}") from error

    def _record(self, call: Call, actor: Actor, action: Action, taught: list[Action], started: float) -> None:
        teacher = self.spec.labeller
        if teacher is None:
            label = Label(LabelStatus.NOT_WANTED)
        elif taught:
            source = LabelSource.EXECUTED if actor is Actor.TEACHER else LabelSource.BESIDE
            label = label_of(taught, call.state.messages, source)
        else:
            label = Label(LabelStatus.PENDING)
        # Not in a thread: a commit takes 0.3 ms, and handing it to a thread and back 1 to 6 where the loop is busy.
        trajectory = self.spec.trajectory.id
        row = self._store.record_turn(
            trajectory,
            call.turn,
            call.state,
            actor,
            action,
            label,
            started,
            thread=call.thread,
            asked=call.asked,
        )
        self._metrics.turns.labels(actor).inc()
        seconds = time.time() - started
        told = {
            "trajectory": trajectory,
            "turn": call.turn,
            "thread_number": call.thread,
            "actor": actor,
            "seconds": seconds,
            "prompt_tokens": action.prompt_tokens,
            "completion_tokens": action.completion_tokens,
        }
        log.info("trajectory %d, turn %d: the %s acted in %.2f s", trajectory, call.turn, actor, seconds, extra=told)
        if teacher is not None and label.status is LabelStatus.PENDING:
            self._labels.ask(teacher, self.spec.request(call, Actor.TEACHER), row.id)
