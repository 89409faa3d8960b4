"""How much a run has to say, read and train on, and what that takes in hours and money.

A trajectory has p tokens of prompt and t turns, each an action of a tokens and an observation of o, as far as the
context allows: t = min(turns, (context - p) / (a + o)). So packed it is p + t (a + o) tokens, and a more for each label
beside an action of the student's. In training a token costs 2 operations for each weight that it goes through (the
output's for label tokens alone) and 4 x layers x width of all heads x half of the trie for attention: forward, again
backward for what leads to weights that move, and again for the gradients of these. Whatever takes time is added up as
if nothing overlapped.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf

from rollin.mixture import ByProgress, Gate, PrefixSwitch, Student, Teacher, TurnMixture
from rollin.planning.assumptions import Assumptions
from rollin.planning.describing import Size
from rollin.planning.findings import Figure, Unit
from rollin.planning.machine import Machine
from rollin.recipe import EndpointTeacher, LocalTeacher, Recipe

GROUP = "work"


@dataclass(frozen=True)
class Work:
    """Of one recipe."""

    recipe: Recipe
    student: Size
    trainable: int
    eval_tasks: tuple[int, ...]
    """How many, by group."""
    machine: Machine
    assumed: Assumptions
    shown: int = 0
    """Trajectories of the run that serves as demonstrations."""

    @cached_property
    def turns(self) -> float:
        """Of a trajectory, within the harness's limit and the student's context."""
        a = self.assumed
        room = max(0, self.recipe.student.context_tokens - a.prompt_tokens) / (a.action_tokens + a.observation_tokens)
        limit = getattr(self.recipe.harness, "max_turns", a.turns)
        return max(1.0, min(a.turns, room, limit))

    def trajectories(self, iteration: int) -> int:
        """Collected in an iteration: of those that the recipe wants, as many as its share of the budget allows."""
        written = self._asked_share(iteration) * self.assumed.action_tokens
        limits = ((self.recipe.budget.turns, 1.0), (self.recipe.budget.teacher_tokens, written))
        allowed = (
            ceil(limit / self.recipe.iterations / (self.turns * each)) for limit, each in limits if limit and each
        )
        return min([self.recipe.tasks_in(iteration) * self.recipe.method.attempts, *allowed])

    def teacher_share(self, iteration: int) -> float:
        """Of an iteration's turns, on average: how many the teacher acts at."""
        roll_in = self.recipe.method.roll_in
        if isinstance(roll_in, Student | Teacher):
            return float(isinstance(roll_in, Teacher))
        if isinstance(roll_in, TurnMixture) and not isinstance(roll_in.beta, ByProgress):
            return roll_in.beta.at(iteration)
        if isinstance(roll_in, PrefixSwitch):
            return self._after_switch(roll_in, iteration)
        assert isinstance(roll_in, Gate | TurnMixture)
        return 1 - self.assumed.student_share

    def _after_switch(self, roll_in: PrefixSwitch, iteration: int) -> float:
        last = int(roll_in.t_max.at(iteration))
        most = min(last, int(self.turns))  # later switches are past the trajectory's end
        uniform = (sum(range(most + 1)) + (last - most) * self.turns) / (last + 1) / self.turns
        first = uniform if roll_in.kappa == "uniform" else min(last / self.turns, 1.0)
        return 1 - first if roll_in.first == "student" else first

    def figures(self) -> list[Figure]:
        """Stage by stage: tokens, hours, money."""
        a, turns = self.assumed, f"{self.turns:.0f} turns"
        asks = f"x {turns} x {a.action_tokens} tokens (assumed turns, action_tokens)"
        counted = self._collected()
        shares = ", ".join(f"{self.teacher_share(i):.2f}" for i in self._iterations)
        trained = f"{self._per_trajectory:,.0f} packed tokens a trajectory, x {self.recipe.training.epochs:g} epochs"
        figures = [
            self._tokens("student: written", self._student_tokens, f"teacher's share of turns {shares}; {asks}"),
            self._tokens("student: written, evaluating", self._evaluating, f"{self._evaluated} trajectories {asks}"),
            self._tokens("teacher: written", self._teacher_tokens, f"acting, labelling: {counted} trajectories {asks}"),
            self._tokens("teacher: read", self._teacher_read, "each state's new tokens, with a prefix cache"),
            self._tokens("student: trained", self._trained, f"{trained}; aggregate: {self.recipe.method.aggregate}"),
        ]
        return [*figures, *self._hours(), *self._money()]

    @property
    def _iterations(self) -> range:
        return range(1, self.recipe.iterations + 1)

    def _collected(self) -> int:
        return sum(map(self.trajectories, self._iterations))

    @property
    def _student_tokens(self) -> float:
        acted = sum(self.trajectories(i) * (1 - self.teacher_share(i)) for i in self._iterations)
        return acted * self.turns * self.assumed.action_tokens

    @property
    def _evaluated(self) -> int:
        """Trajectories of all evaluations."""
        settings, everything = self.recipe.evaluation, sum(self.eval_tasks)
        before = everything if settings.base is True else sum(min(settings.base, group) for group in self.eval_tasks)
        return before + everything * (self.recipe.iterations if settings.when == "every_iteration" else 1)

    @property
    def _evaluating(self) -> float:
        return self._evaluated * self.turns * self.assumed.action_tokens

    @property
    def _asked(self) -> float:
        """Turns at which the teacher acts or labels."""
        return self.turns * sum(self.trajectories(i) * self._asked_share(i) for i in self._iterations)

    def _asked_share(self, iteration: int) -> float:
        """Of an iteration's turns, at how many the teacher acts or labels."""
        return 1.0 if self.recipe.method.label == "teacher" else self.teacher_share(iteration)

    @property
    def _teacher_tokens(self) -> float:
        return self._asked * self.assumed.action_tokens

    @property
    def _teacher_read(self) -> float:
        scored = self.recipe.method.objective.kind == "reverse_kl"
        states = self._asked if not scored else self.turns * self._collected()
        new = self.assumed.prompt_tokens / self.turns + self.assumed.action_tokens + self.assumed.observation_tokens
        return states * new

    @cached_property
    def _per_trajectory(self) -> float:
        """Packed tokens, averaged over iterations."""
        return sum(map(self._packed, self._iterations)) / len(self._iterations)

    @cached_property
    def _kept(self) -> list[float]:
        """Packed tokens of what the method keeps of each iteration."""
        kept = self.assumed.resolved_share if self.recipe.method.keep == "resolved" else 1.0
        return [self.trajectories(i) * self._packed(i) * kept for i in self._iterations]

    def _packed(self, iteration: int) -> float:
        a = self.assumed
        beside = self.recipe.method.label == "teacher"
        branches = self.turns * (1 - self.teacher_share(iteration)) * a.action_tokens * beside
        return a.prompt_tokens + self.turns * (a.action_tokens + a.observation_tokens) + branches

    @cached_property
    def _trained(self) -> float:
        """Of all iterations and epochs, within the budgets of labels and of tokens."""
        budget, label = self.recipe.budget, self._per_trajectory / self.turns
        labels = label * budget.labels if budget.labels else inf
        once = sum(min(self._aggregated(iteration), labels) for iteration in self._iterations)
        return min(once * self.recipe.training.epochs, budget.training_tokens or inf)

    def _aggregated(self, iteration: int) -> float:
        """Packed tokens of what the method keeps of the iterations so far, and of the demonstrations."""
        aggregate = self.recipe.method.aggregate
        shown = self.shown * self._per_trajectory * aggregate.share(iteration)
        return shown + sum(self._kept[of - 1] * aggregate.share(iteration - of) for of in aggregate.of(iteration))

    def operations(self, length: float) -> float:
        """Of one token in training, in a trajectory so many tokens long."""
        size = self.student
        moving = min(1.0, self.trainable / size.inner)
        passes = {"full": 3.0, "lora": 2.0, "top_layers": 1 + 2 * moving}[self.recipe.training.parameters]
        weights = 2 * (size.inner + size.output * self.assumed.label_share) * passes
        attention = 4 * size.layers * size.attended * length / 2 * passes
        again = (weights + attention) / passes if self.recipe.training.gradient_checkpointing else 0.0
        return weights + attention + again

    def _hours(self) -> list[Figure]:
        a = self.assumed
        student = (self._student_tokens + self._evaluating) / a.student_tokens_per_second
        teacher = self._teacher_tokens / a.teacher_tokens_per_second if self._model_teaches else 0.0
        commands = (self._collected() + self._evaluated) * self.turns * a.command_seconds
        operations = self.operations(self._per_trajectory)
        training = self._trained * operations / (a.training_tflops * 1e12)
        rows = [
            ("student acts", student, f"{a.student_tokens_per_second:g} tokens/s (assumed)"),
            ("teacher acts and labels", teacher, f"{a.teacher_tokens_per_second:g} tokens/s (assumed)"),
            (
                "commands",
                commands / self.recipe.concurrency,
                f"{a.command_seconds:g} s each (assumed)",
            ),
            (
                "training",
                training,
                f"{operations:.2e} operations a token, {a.training_tflops:g}e12/s (assumed)",
            ),
        ]
        figures = [Figure("hours", name, seconds / 3600, Unit.HOURS, origin) for name, seconds, origin in rows]
        total = sum(figure.amount for figure in figures)
        return [*figures, Figure("hours", "all", total, Unit.HOURS, "as if nothing overlapped")]

    def _money(self) -> list[Figure]:
        a, hours = self.assumed, self._hours()[-1].amount
        gpus = Figure(
            "cost",
            "GPUs",
            hours * self.machine.gpus * a.gpu_hour_price,
            Unit.DOLLARS,
            f"{self.machine.gpus} GPUs all the time, {a.gpu_hour_price:g} USD an hour (assumed gpu_hour_price)",
        )
        asked = self._teacher_read * a.teacher_prompt_price + self._teacher_tokens * a.teacher_answer_price
        prices = f"{a.teacher_prompt_price:g} and {a.teacher_answer_price:g} USD a million tokens (assumed)"
        teacher = Figure("cost", "teacher's endpoint", asked / 1e6, Unit.DOLLARS, prices)
        return [figure for figure in (gpus, teacher) if figure.amount]

    @property
    def _model_teaches(self) -> bool:
        return isinstance(self.recipe.teacher, EndpointTeacher | LocalTeacher)

    def _tokens(self, name: str, amount: float, origin: str) -> Figure:
        return Figure(GROUP, name, amount, Unit.TOKENS, origin)
