"""Trajectories: a task, a fresh sandbox, a harness, the gateway; many at once, each committed turn by turn.

Attempt    names one trajectory to be had: which task, in which iteration, for what
Cast       who acts, by which rule, and who labels
Rollouts   runs attempts, goes on with interrupted ones, leaves ended ones alone
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from rollin.errors import ContextOverflow, InfrastructureFault, Unavailable
from rollin.gateway import Call, Gateway, SessionReport, SessionSpec
from rollin.harnesses.base import Harness, HarnessExit
from rollin.mixture import Actor, RollIn
from rollin.policies.base import Policy, Request, Sampling
from rollin.policies.judging import sound
from rollin.sandboxes.base import Limits, Sandbox
from rollin.sandboxes.workspace import open_workspace
from rollin.store import Exit, Purpose, State, Store, TrajectoryRow
from rollin.tasks.extraction import extract_patch
from rollin.tasks.grading import grade
from rollin.tasks.schema import Task

log = logging.getLogger(__name__)

RETRIES = 2
"""How often a trajectory that the infrastructure ended is tried again."""
LOST = 0.25
"""Where one call alone took more than this share of a trajectory's time, a limit of time is no doing of the model's."""


@dataclass(frozen=True)
class Attempt:
    """Names one trajectory to be had."""

    task: Task
    iteration: int
    purpose: Purpose
    number: int = 0
    """Counts the attempts at the same task in the same iteration."""


@dataclass(frozen=True)
class Cast:
    """Who acts, by which rule, and who labels."""

    name: str
    """Whom the trajectory is about: the student, or the teacher in its own evaluation."""
    roll_in: RollIn
    policies: Mapping[Actor, Policy]
    labeller: Policy | None = None
    sampling: Mapping[Actor, Sampling] = field(default_factory=dict)


class Rollouts:
    """Runs attempts, `concurrency` at a time."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        harness: Harness,
        *,
        cache_dir: Path,
        limits: Limits,
        concurrency: int,
        seed: int,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._harness = harness
        self._cache = cache_dir
        self._limits = limits
        self._concurrency = concurrency
        self._seed = seed
        self.last_fault = ""
        """Why the infrastructure ended a trajectory, the last time that it did."""

    def run(
        self, attempts: Sequence[Attempt], cast: Cast, done: Callable[[TrajectoryRow], None]
    ) -> list[TrajectoryRow]:
        """Bring every attempt to its end; `done` hears of each. Those that had ended before are not run again."""
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="trajectory")
        try:
            futures = [pool.submit(self._one, attempt, cast, done) for attempt in attempts]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()  # one that failed is told before the others have ended
            return [future.result() for future in futures]
        finally:
            # Who interrupts a run doesn't want to wait for the trajectories under way; their turns are committed.
            pool.shutdown(cancel_futures=True, wait=False)

    def settle_labels(self, cast: Cast, iteration: int, purpose: Purpose = Purpose.COLLECT) -> dict[str, int]:
        """Ask again for what is missing, and wait until no label is under way. How many to learn from stand how."""
        for row in self._store.trajectories(iteration=iteration, purpose=purpose):
            spec = self._spec(row, self._store.task(row.instance_id), cast)
            self._gateway.ask_for_missing_labels(spec)
        self._gateway.await_labels()
        return {status.value: count for status, count in self._store.label_counts(iteration).items()}

    def judge(self, cast: Cast, teacher: Policy, iteration: int) -> None:
        """Ask the teacher which of the student's turns it would leave alone, now that it sees what came of them.

        What can't be judged stays to be corrected: the last turn is followed by nothing, and a message without a
        command by a state that doesn't hold it.
        """
        asked = list[tuple[int, Request]]()
        for row in self._store.trajectories(iteration=iteration, purpose=Purpose.COLLECT):
            spec = self._spec(row, self._store.task(row.instance_id), cast)
            turns = sorted(self._store.turns(row.id), key=lambda turn: turn.thread)
            for turn, following in pairwise(turns):
                before, messages = (self._store.state_messages(each.state_id) for each in (turn, following))
                held = messages[len(before) :][:1] == [turn.action.message]
                if turn.actor is Actor.STUDENT and turn.sound is None and held:
                    asked.append((turn.id, spec.request(Call(following.turn, State.of(messages)), Actor.TEACHER)))
        self._gateway.run(self._judge(teacher, asked))

    async def _judge(self, teacher: Policy, asked: Sequence[tuple[int, Request]]) -> None:
        slots = asyncio.Semaphore(self._concurrency)

        async def one(turn_id: int, request: Request) -> None:
            async with slots:
                try:
                    verdict = await sound(teacher, request)
                except (ContextOverflow, InfrastructureFault) as fault:
                    log.warning("turn %d is not judged: %s", turn_id, fault)
                    return
            if verdict is not None:
                self._store.record_judgement(turn_id, verdict)

        await asyncio.gather(*(one(turn_id, request) for turn_id, request in asked))

    def _one(self, attempt: Attempt, cast: Cast, done: Callable[[TrajectoryRow], None]) -> TrajectoryRow:
        row = self._open(attempt, cast)
        try:
            for _ in self._tries(row):
                row = self._attempt(row, attempt.task, cast)
                if row.exit is not Exit.INFRASTRUCTURE_FAULT:
                    break
        except Unavailable:  # said and counted; trying again would not help
            row = self._store.trajectory(row.id)
        done(row)
        return row

    def _open(self, attempt: Attempt, cast: Cast) -> TrajectoryRow:
        return self._store.open_trajectory(
            attempt.task.instance_id,
            iteration=attempt.iteration,
            attempt=attempt.number,
            purpose=attempt.purpose,
            policy=cast.name,
            seed=self._seed,
        )

    def _tries(self, row: TrajectoryRow) -> Iterator[int]:
        """Nothing to do for one that ended by its own doing and was graded; a few tries for any other."""
        if row.exit not in (None, Exit.INFRASTRUCTURE_FAULT) and row.resolved is not None:
            return
        yield from range(1 + RETRIES)

    def _attempt(self, row: TrajectoryRow, task: Task, cast: Cast) -> TrajectoryRow:
        """Roll out and grade. A fault of the infrastructure ends the trajectory as such, in no rate."""
        try:
            if row.exit is Exit.INFRASTRUCTURE_FAULT:
                row = self._store.reopen_trajectory(row.id)
            if row.exit is None:
                row = self._roll_out(row, task, cast)
            if row.exit is not Exit.INFRASTRUCTURE_FAULT and row.resolved is None:
                self._grade(row, task)
        except InfrastructureFault as fault:
            log.warning("trajectory %d (%s): %s", row.id, task.instance_id, fault)
            self.last_fault = str(fault)
            self._store.end_trajectory(row.id, Exit.INFRASTRUCTURE_FAULT)
            if isinstance(fault, Unavailable):
                raise
        return self._store.trajectory(row.id)

    def _roll_out(self, row: TrajectoryRow, task: Task, cast: Cast) -> TrajectoryRow:
        with self._workspace(task) as sandbox:
            key = self._gateway.open_session(self._spec(row, task, cast))
            try:
                ending = self._harness.run(task, sandbox, self._gateway.url, key)
            finally:
                report = self._gateway.close_session(key)
            if fault := report.fault or _lost_time(ending, report):
                raise InfrastructureFault(fault)
            patch = extract_patch(sandbox) if sandbox else None
        grade = None if ending.resolved is None else {"judged_by": "environment"}
        ended_by = _doing_of_the_model(ending, report) or ending.exit
        if ended_by is Exit.INFRASTRUCTURE_FAULT:
            self.last_fault = ending.detail
        return self._store.end_trajectory(row.id, ended_by, patch, resolved=ending.resolved, grade=grade)

    def _workspace(self, task: Task) -> AbstractContextManager[Sandbox | None]:
        """Where the harness works on a task: nowhere, if its tasks are no repositories."""
        harness = self._harness
        if not harness.sandboxed:
            return nullcontext()
        shown = {**harness.folders, **(self._gateway.way_in if harness.inside else {})}
        return open_workspace(task, self._cache, self._limits, harness.env, shown)

    def _spec(self, row: TrajectoryRow, task: Task, cast: Cast) -> SessionSpec:
        return SessionSpec(
            trajectory=row,
            task=task,
            roll_in=cast.roll_in,
            policies=cast.policies,
            labeller=cast.labeller,
            sampling=cast.sampling,
        )

    def _grade(self, row: TrajectoryRow, task: Task) -> None:
        """SWE-bench's rules on the extracted patch; what was not submitted is not resolved."""
        if row.exit is not Exit.SUBMITTED or not row.patch:
            self._store.grade_trajectory(row.id, False, {"graded": "not submitted" if row.patch else "empty patch"})
            return
        result = grade(task, row.patch, self._cache)
        summary = {
            "patch_applied": result.patch_applied,
            "ran": bool(result.tests),
            "report": result.report,
            "exceptions": [] if result.resolved else result.exceptions,
            "seconds": result.seconds,
        }
        self._store.grade_trajectory(row.id, result.resolved, summary)


def _lost_time(ending: HarnessExit, report: SessionReport) -> str | None:
    """Why the time was up, where it went to waiting: for a server that hangs, or one that is much too slow."""
    if ending.exit is not Exit.TIME_LIMIT or report.waited <= LOST * report.seconds:
        return None
    return f"the time was up: {report.waited:.0f} of its {report.seconds:.0f} s went to waiting for one answer"


def _doing_of_the_model(ending: HarnessExit, report: SessionReport) -> Exit | None:
    """What ended a program that the agent is, and that did not survive what its model did; None for anything else."""
    if ending.exit is not Exit.INFRASTRUCTURE_FAULT:
        return None
    if report.overflowed:
        return Exit.CONTEXT_LIMIT
    return Exit.SANDBOX_LIMIT if ending.signalled and report.turns else None
