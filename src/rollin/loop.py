"""The algorithm: roll in, label, aggregate, train, N times over (arXiv 2605.12913, section 3).

The method's table (`method.py`) decides who acts and what the loss is; this file knows no method by name. A step that
the store says is done is not done again, which is all there is to resuming.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from rollin.budget import Share
from rollin.evaluation.rate import Rate, by_group, first_of_each_group
from rollin.learner import Learner
from rollin.method import Method
from rollin.mixture import ByProgress, RollIn, TurnMixture, training_seed
from rollin.policies.engines import Engines
from rollin.progress import Reporter
from rollin.recipe import Recipe
from rollin.store import STUDENT, EvaluationRow, Phase, Purpose, Store
from rollin.tasks.schema import Task
from rollin.training.samples import affordable, fitting, scored, training_samples, within
from rollin.training.trainer import TrainingResult
from rollin.training.trie import Sample
from rollin.trajectories import Trajectories


@dataclass(frozen=True)
class Loop:
    """One run: a student, a teacher, tasks, and what happens to them in which order."""

    recipe: Recipe
    store: Store
    trajectories: Trajectories
    learner: Learner
    train_tasks: list[Task]
    eval_tasks: list[Task]
    reporter: Reporter
    demonstrations: Sequence[list[Sample]] = ()
    """What the student began with, by trajectory: part of what is aggregated."""
    scorer: Engines | None = None
    """Who tells the teacher's log-probabilities, where the objective wants them and the teacher is at a server."""

    def run(self) -> None:
        """All iterations, from wherever the store says that the run is."""
        if self.phase(0) is not Phase.DONE:
            self.before()
        for iteration in range(1, self.recipe.iterations + 1):
            if self.phase(iteration) is Phase.COLLECTING:
                self.roll_in(iteration)
            if self.phase(iteration) is Phase.TRAINING:
                self.learn(iteration)
            if self.phase(iteration) is Phase.EVALUATING:
                self.measure(iteration)

    def before(self) -> None:
        """Iteration 0 is the student before any training."""
        base = self.recipe.evaluation.base
        if base:
            self.evaluate(0, self.eval_tasks if base is True else first_of_each_group(self.eval_tasks, base))
        self.store.advance_iteration(0, Phase.DONE)

    def roll_in(self, iteration: int) -> None:
        """Student and teacher act, turn by turn as the roll-in says; the teacher labels every state they reach."""
        rows, labels = self.trajectories.mixed(iteration, self.tasks_of(iteration), self.who_acts(iteration))
        self.store.advance_iteration(
            iteration, Phase.TRAINING, metrics={"collected": asdict(Rate.of(rows)), "labels": labels}
        )

    def who_acts(self, iteration: int) -> RollIn:
        """The method's roll-in; where it follows the student's progress, that is measured first."""
        roll_in = self.method.roll_in
        if not isinstance(roll_in, TurnMixture) or not isinstance(roll_in.beta, ByProgress):
            return roll_in
        tasks = self.tasks_of(iteration)[: roll_in.beta.tasks]
        rows = self.trajectories.alone("measuring progress", iteration, Purpose.PROBE, tasks, weights=iteration - 1)
        settled = roll_in.given(Rate.of(rows).value)
        self.store.advance_iteration(iteration, Phase.COLLECTING, beta=beta_of(settled, iteration))
        return settled

    def learn(self, iteration: int) -> None:
        """Aggregate the labels of the iterations so far, and train on them."""
        data, left_out = self.aggregate(iteration)
        if data or not self.may_find_nothing():
            result = self.train(iteration, data, left_out)
        else:
            self.reporter.say(f"iteration {iteration}: no trajectory to learn from; the student stays as it is")
            result = self.learner.stay(iteration)
        checkpoint = self.learner.checkpoint(iteration).name
        self.store.advance_iteration(
            iteration, Phase.EVALUATING, checkpoint=checkpoint, metrics={"training": asdict(result)}
        )

    def aggregate(self, iteration: int) -> tuple[list[list[Sample]], int]:
        """(by trajectory the labels to learn from, how many were too long): what the method keeps of the iterations so
        far, as much as the budget pays for."""
        recipe, share = self.recipe, Share(self.recipe, self.store, iteration)
        kept = training_samples(self.store, self.method.aggregate.of(iteration), self.learner.tokenizer, self.method)
        labelled = [*self.shown(iteration), *kept]
        data = fitting(labelled, recipe.training.max_tokens)
        left_out = sum(map(len, labelled)) - sum(map(len, data))
        data = within(data, recipe.budget.labels, recipe.seed)
        data = affordable(data, share.training_tokens, recipe.seed, recipe.training.max_tokens)
        data = scored(data, self.scorer) if self.scorer else data
        self.compare_lengths(iteration, data)
        return data, left_out

    def may_find_nothing(self) -> bool:
        """Whether it is no fault if there is nothing to learn from."""
        graded = any(row.resolved is not None for row in self.store.trajectories(purpose=Purpose.COLLECT))
        return (self.method.selective and graded) or self.recipe.budget.may_leave_nothing

    def shown(self, iteration: int) -> list[list[Sample]]:
        """Of the demonstrations as many as of an iteration before the first, drawn anew each time; and they count as
        much."""
        chance, aggregate = random.Random(f"shown {self.recipe.seed} {iteration}"), self.method.aggregate
        share, weight = aggregate.share(iteration), aggregate.weight(iteration)
        drawn = [group for group in self.demonstrations if chance.random() < share]
        return [[replace(sample, weight=sample.weight * weight) for sample in group] for group in drawn]

    def train(self, iteration: int, data: list[list[Sample]], left_out: int) -> TrainingResult:
        """Train with progress."""
        with self.reporter.phase(f"iteration {iteration}: training", self.recipe.training.steps(len(data))) as bar:
            result = self.learner.learn(
                iteration,
                data,
                self.recipe.training,
                self.recipe.objective,
                left_out=left_out,
                seed=training_seed(self.recipe.seed, iteration),
                progress=lambda step, steps, loss: bar.advance(note=f"loss {loss:.3f}", of=steps),
            )
        if result.left_out:
            self.reporter.say(
                f"iteration {iteration}: {result.left_out} labels left out: longer than training.max_tokens"
            )
        return result

    def compare_lengths(self, iteration: int, data: list[list[Sample]]) -> None:
        """Say so if the student learns labels that are longer than what it may say."""
        limit = self.recipe.student.sampling.max_tokens
        if longer := sum(len(sample.label) > limit for samples in data for sample in samples):
            self.reporter.say(
                f"iteration {iteration}: {longer} labels are longer than an action of the student may be, {limit}"
                " tokens: it will be cut off; raise student.sampling.max_tokens"
            )

    def measure(self, iteration: int) -> None:
        """Evaluate after this iteration, if it is the last or the recipe wants it after each."""
        if iteration == self.recipe.iterations or self.recipe.evaluation.when == "every_iteration":
            self.evaluate(iteration, self.eval_tasks)
        self.store.advance_iteration(iteration, Phase.DONE)

    def evaluate(self, iteration: int, tasks: list[Task]) -> Rate:
        """The student alone on tasks of modules that it never trained on."""
        labels = self.recipe.evaluation.labels
        rows = self.trajectories.alone("evaluating", iteration, Purpose.EVAL, tasks, weights=iteration, labels=labels)
        rate, groups = Rate.of(rows), by_group(rows, {task.instance_id: task for task in tasks})
        checkpoint = self.learner.checkpoint(iteration).name if iteration else self.recipe.student.model
        metrics: dict[str, object] = {name: asdict(group) for name, group in groups.items()}
        self.store.record_evaluation(
            EvaluationRow(iteration, checkpoint, STUDENT, "eval", rate.n, rate.resolved, rate.faults, metrics)
        )
        for name, group in groups.items():
            self.reporter.say(f"iteration {iteration}: {name}: resolved {group}")
        return rate

    @property
    def method(self) -> Method:
        """What is particular about this run: a row of the table, which the recipe may have changed."""
        return self.recipe.method

    def phase(self, iteration: int) -> Phase:
        """How far an iteration has come; a new one begins by collecting."""
        return self.store.begin_iteration(iteration, beta=beta_of(self.method.roll_in, iteration)).phase

    def tasks_of(self, iteration: int) -> list[Task]:
        """The training tasks in an order drawn once, dealt out iteration by iteration, from the start when through."""
        deck = random.Random(f"deal {self.recipe.seed}").sample(self.train_tasks, len(self.train_tasks))
        first = sum(map(self.recipe.tasks_in, range(1, iteration)))
        size = min(self.recipe.tasks_in(iteration), len(deck))
        return [deck[(first + place) % len(deck)] for place in range(size)]


def beta_of(roll_in: RollIn, iteration: int) -> float | None:
    """The teacher's share of the turns, where the roll-in has one and it is known beforehand."""
    if not isinstance(roll_in, TurnMixture) or isinstance(roll_in.beta, ByProgress) or not iteration:
        return None
    return roll_in.beta.at(iteration)
