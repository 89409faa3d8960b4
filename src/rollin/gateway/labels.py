"""Labels beside: the teacher is asked for its action in a state while the student's action is already executed."""

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollin.errors import ContextOverflow, InfrastructureFault, Refused
from rollin.gateway.metrics import Metrics
from rollin.messages import Message, storable
from rollin.mixture import Actor
from rollin.policies.base import LOGPROBS, Action, Policy, Request
from rollin.store import Label, LabelSource, LabelStatus, Store

log = logging.getLogger(__name__)


ASKED_AGAIN = 2
"""How often a teacher is asked again whose action can't be learnt from."""


async def draws(teacher: Policy, request: Request) -> list[Action]:
    """The teacher's action, last; before it what it said that is of no use. In the end it is whatever it says."""
    said = [storable_action(await teacher.act(request))]
    while not said[-1].teaches(request.messages) and len(said) <= ASKED_AGAIN:
        another = replace(request, seed=request.seed + len(said))
        said.append(storable_action(await teacher.act(another)))
    return said


def label_of(said: Sequence[Action], messages: Sequence[Message], source: LabelSource) -> Label:
    """The last of the teacher's draws as a label, unless it can't be learnt from. All of them are its cost; but what an
    executed one cost is its turn's."""
    label = Label.of(said[-1], source) if said[-1].teaches(messages) else Label(LabelStatus.INVALID)
    paid = said[:-1] if source is LabelSource.EXECUTED else said
    return replace(
        label,
        seconds=sum(action.seconds for action in paid),
        prompt_tokens=sum(action.prompt_tokens for action in paid),
        completion_tokens=sum(action.completion_tokens for action in paid),
    )


def storable_action(action: Action) -> Action:
    """With text that a file takes."""
    return replace(action, content=storable(action.content), tool_calls=storable(action.tool_calls))


@dataclass(frozen=True)
class LabelCounts:
    """How the labels asked for since the gateway started stand."""

    pending: int
    ready: int
    invalid: int
    """The teacher said nothing of use."""
    missing: int
    """It could not be asked."""


class Labeller:
    """Asks for labels in the background. All but `wait` and `counts` run on the gateway's event loop."""

    def __init__(
        self, store: Store, metrics: Metrics, *, concurrency: int, attempts: int = 4, backoff: float = 0.5
    ) -> None:
        """At most `concurrency` questions at once; `attempts` for each, `backoff` seconds apart and doubling."""
        self._store = store
        self._metrics = metrics
        self._slots = asyncio.Semaphore(concurrency)
        self._attempts = attempts
        self._backoff = backoff
        self._tasks: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._asked: set[int] = set()
        self._changed = threading.Condition()
        self._counts = LabelCounts(0, 0, 0, 0)

    def ask(self, teacher: Policy, request: Request, turn_id: int) -> None:
        """Begin to obtain the label of a recorded turn. Nothing happens if that has begun."""
        if turn_id in self._asked:
            return
        self._asked.add(turn_id)
        # They are of the action that the harness gets. Some servers give none, and refuse who asks.
        request = replace(request, asked={name: v for name, v in request.asked.items() if name not in LOGPROBS})
        self._count(pending=1)
        task = asyncio.get_running_loop().create_task(self._obtain(teacher, request, turn_id))
        tasks = self._tasks[request.trajectory]
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def settle(self, trajectory: str) -> None:
        """Return once no label of this trajectory is being asked for."""
        while tasks := self._tasks.get(trajectory):
            await asyncio.wait(tasks)
        self._tasks.pop(trajectory, None)

    async def cancel(self) -> None:
        """Stop asking; what isn't there stays pending in the store, for a resumed run."""
        tasks = [task for group in self._tasks.values() for task in group]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def counts(self) -> LabelCounts:
        with self._changed:
            return self._counts

    def wait(self, seconds: float) -> LabelCounts:
        """Called by another thread: the counts, when nothing is pending or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._counts.pending == 0, seconds)
            return self._counts

    async def _obtain(self, teacher: Policy, request: Request, turn_id: int) -> None:
        began = time.monotonic()
        try:
            async with self._slots:
                label = await self._label(teacher, request)
                self._store.record_label(turn_id, label)
            lag = time.monotonic() - began
            trajectory, turn = int(request.trajectory), request.turn
            told = {"trajectory": trajectory, "turn": turn, "label": label.status, "seconds": lag}
            log.info("trajectory %d, turn %d: label %s after %.2f s", trajectory, turn, label.status, lag, extra=told)
            self._metrics.lag.observe(lag)
            self._metrics.labels.labels(label.status).inc()
            self._count(label.status, pending=-1)
        except asyncio.CancelledError:
            self._count(pending=-1)
            raise
        except Exception:
            log.exception("the label of turn %d could not be recorded", turn_id)
            self._count(LabelStatus.MISSING, pending=-1)
        finally:
            self._asked.discard(turn_id)

    async def _label(self, teacher: Policy, request: Request) -> Label:
        for attempt in range(self._attempts):
            try:
                with self._metrics.asked(Actor.TEACHER):
                    said = await draws(teacher, request)
                return label_of(said, request.messages, LabelSource.BESIDE)
            except ContextOverflow:
                break
            except InfrastructureFault as fault:
                log.warning("trajectory %s, turn %d: no label yet: %s", request.trajectory, request.turn, fault)
                if isinstance(fault, Refused):
                    break
                if attempt + 1 < self._attempts:
                    await asyncio.sleep(self._backoff * 2**attempt)
            except Exception:
                log.exception("trajectory %s, turn %d: the teacher broke", request.trajectory, request.turn)
                break
        return Label(LabelStatus.MISSING)

    def _count(self, came: LabelStatus | None = None, *, pending: int) -> None:
        """`pending` more are asked for, and one came to this."""
        with self._changed:
            now = self._counts
            self._counts = LabelCounts(
                now.pending + pending,
                now.ready + (came is LabelStatus.READY),
                now.invalid + (came is LabelStatus.INVALID),
                now.missing + (came is LabelStatus.MISSING),
            )
            self._metrics.pending.set(self._counts.pending)
            self._changed.notify_all()
