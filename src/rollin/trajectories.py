"""Trajectories as the loop wants them, with progress: of a mixture, labelled; or of the student alone."""

from collections import Counter
from dataclasses import dataclass

from rollin.budget import Share
from rollin.errors import InfrastructureFault, UserError
from rollin.learner import Learner
from rollin.mixture import Actor, RollIn, Student
from rollin.policies.base import Policy, Sampling
from rollin.policies.local import LocalPolicy
from rollin.progress import Reporter
from rollin.recipe import Recipe
from rollin.rollout import Attempt, Cast, Rollouts
from rollin.store import STUDENT, Exit, LabelStatus, Purpose, Store, TrajectoryRow
from rollin.tasks.schema import Task


@dataclass(frozen=True)
class Trajectories:
    """One run's student and teacher, let loose on tasks."""

    recipe: Recipe
    store: Store
    rollouts: Rollouts
    learner: Learner
    teacher: Policy
    teacher_sampling: Sampling
    reporter: Reporter

    def mixed(self, iteration: int, tasks: list[Task], roll_in: RollIn) -> tuple[list[TrajectoryRow], dict[str, int]]:
        """(the trajectories of an iteration, how many labels stand how). Who acts is the roll-in's to say; the student
        acts with the weights that the iteration before left."""
        method = self.recipe.method
        cast = Cast(
            name=STUDENT,
            roll_in=roll_in,
            policies={Actor.STUDENT: self.learner.at(iteration - 1), Actor.TEACHER: self.teacher},
            labeller=self.teacher if method.label == "teacher" else None,
            sampling={Actor.STUDENT: self.recipe.student.sampling, Actor.TEACHER: self.teacher_sampling},
        )
        attempts = [Attempt(task, iteration, Purpose.COLLECT, n) for task in tasks for n in range(method.attempts)]
        rows = self._run("rolling in", attempts, cast, Share(self.recipe, self.store, iteration))
        labels = self.rollouts.settle_labels(cast, iteration)
        self._heed_missing(iteration, labels)
        if method.turns == "corrected":
            self.rollouts.judge(cast, self.teacher, iteration)
        return rows, labels

    def alone(
        self, doing: str, iteration: int, purpose: Purpose, tasks: list[Task], *, weights: int, labels: bool = False
    ) -> list[TrajectoryRow]:
        """The student alone, greedy, with the weights that an iteration left; labels beside it, if they are wanted."""
        greedy = Sampling(max_tokens=self.recipe.student.sampling.max_tokens)
        student = {Actor.STUDENT: self.learner.at(weights)}
        sampling = {Actor.STUDENT: greedy, Actor.TEACHER: self.teacher_sampling}
        cast = Cast(STUDENT, Student(), student, self.teacher if labels else None, sampling)
        rows = self._run(doing, [Attempt(task, iteration, purpose) for task in tasks], cast)
        if labels:
            self.rollouts.settle_labels(cast, iteration, purpose)
        return rows

    def _run(self, doing: str, attempts: list[Attempt], cast: Cast, share: Share | None = None) -> list[TrajectoryRow]:
        """All attempts; or, as many at a time as go at once, what the share allows."""
        size = self.recipe.concurrency if share and share.bounds_collecting else max(1, len(attempts))
        rows, ended = list[TrajectoryRow](), Counter[bool]()
        title = f"iteration {attempts[0].iteration}: {doing}" if attempts else doing
        with self.reporter.phase(title, len(attempts)) as bar:

            def done(row: TrajectoryRow) -> None:
                ended[bool(row.resolved)] += 1
                bar.advance(note=f"{ended[True]} resolved")

            for start in range(0, len(attempts), size):
                if share and share.counts_labels:
                    self.rollouts.settle_labels(cast, attempts[0].iteration)
                if share and share.collected(rows):
                    self.reporter.say(f"{title}: the budget allows {len(rows)} of {len(attempts)} trajectories")
                    break
                rows += self.rollouts.run(attempts[start : start + size], cast, done)
        for policy in cast.policies.values():
            if isinstance(policy, LocalPolicy) and policy.broken is not None:  # resumed, the run has what is missing
                raise InfrastructureFault(f"{title}: the local model stopped working: {policy.broken}")
        self._heed_faults(title, rows)
        return rows

    def _heed_faults(self, title: str, rows: list[TrajectoryRow]) -> None:
        """Say what the infrastructure ended. InfrastructureFault where that is all: nothing would be known after it."""
        faults = sum(row.exit is Exit.INFRASTRUCTURE_FAULT for row in rows)
        if not faults:
            return
        told = f"{title}: {faults} of {len(rows)} trajectories failed, lastly by this: {self.rollouts.last_fault}"
        if faults == len(rows):
            raise InfrastructureFault(told)
        self.reporter.say(f"{told} (they are in no rate)")

    def _heed_missing(self, iteration: int, labels: dict[str, int]) -> None:
        """Say how many labels the teacher failed to give, or gave in vain. InfrastructureFault or UserError where
        none is left to learn from."""
        missing, invalid, ready = (
            labels[each] for each in (LabelStatus.MISSING, LabelStatus.INVALID, LabelStatus.READY)
        )
        if missing and not ready:
            raise InfrastructureFault(f"iteration {iteration}: the teacher gave none of {missing} labels")
        if missing:
            self.reporter.say(f"iteration {iteration}: {missing} labels are missing, the teacher failed")
        useless = f"iteration {iteration}: {invalid} labels are of no use (cut off, or without a command)"
        cure = "raise teacher.sampling.max_tokens, or look at them with `rollin show`"
        if invalid and not ready:
            raise UserError(f"{useless} and no other is there; {cure}, and start another run")
        if invalid:
            self.reporter.say(f"{useless}; {cure}")
