"""Memory for training and for acting, and what to do where it is not enough.

Training (in the process of `rollin run`, on one GPU): weights + copies of them for acting + gradients + AdamW's moments
+ attention mask + the largest sum of activations and logits; the last is rehearsed (see `rehearsal.py`) on a
trie of `training.max_tokens` nodes.

Acting: weights + 2 x layers x key/value heads x head size x bytes of a number x context x `concurrency`.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from rollin.planning.assumptions import Assumptions
from rollin.planning.describing import Described
from rollin.planning.findings import GIB, Figure, Finding, Unit, Verdict
from rollin.planning.machine import Machine
from rollin.planning.rehearsal import Rehearsed, Shape, rehearse
from rollin.policies.ragged import GROWTH
from rollin.recipe import EndpointTeacher, LocalTeacher, Recipe
from rollin.training.objectives import Need
from rollin.training.settings import Precision

TRAINING, STUDENT, TEACHER = "training", "student acting", "teacher acting"


@dataclass(frozen=True)
class Memory:
    """Of one recipe on one machine."""

    recipe: Recipe
    student: Described
    teacher: Described | None
    """Where its shape is known: one that is local, or a server of one's own."""
    machine: Machine
    assumed: Assumptions

    def figures(self) -> list[Figure]:
        """What is held, part by part."""
        return [*self._training(), *self._acting()]

    def findings(self, figures: list[Figure]) -> list[Finding]:
        """Whether that fits."""
        sums = {group: _sum(figures, group) for group in (TRAINING, STUDENT, TEACHER)}
        return self._on_gpus(sums) if self.machine.on_gpu else self._on_cpu(sums)

    @property
    def trainable(self) -> int:
        """Weights that move."""
        return self.rehearsed.trainable

    @cached_property
    def rehearsed(self) -> Rehearsed:
        """One step on the longest trie. UserError for settings that the model can't have."""
        settings, precision = self.recipe.training, self.recipe.student.precision
        return rehearse(
            self.student,
            settings,
            self.recipe.objective,
            Shape(settings.max_tokens, math.ceil(settings.max_tokens * self.assumed.label_share)),
            multiplied=self.machine.multiplied(precision),
            on_gpu=self.machine.on_gpu,
            teacher=self._local_teacher if self._white_box else None,
        )

    def _training(self) -> list[Figure]:
        step, settings = self.rehearsed, self.recipe.training
        longest = f"trie of {settings.max_tokens:,} nodes (training.max_tokens)"
        kept = "each layer's input, the rest once more" if settings.gradient_checkpointing else "kept for all layers"
        labels = f"{self.assumed.label_share:.0%} of it label tokens (assumed label_share)"
        parts = [
            ("weights", step.weights, "float32; all models that training needs"),
            (
                "gradients",
                step.gradients,
                f"{step.trainable:,} weights move (training.parameters)",
            ),
            ("optimizer", step.optimizer, "AdamW: two moments of each of these"),
            ("attention mask", step.mask, longest),
            ("activations and logits", step.passing, f"rehearsed on a {longest}, {labels}; activations: {kept}"),
        ]
        libraries = 0.0 if self.machine.on_gpu else self.assumed.library_gib * GIB
        parts.append(("libraries", int(libraries), "assumed library_gib"))
        if self._local_teacher is not None:
            beside = self._held(TRAINING, self._local_teacher, 0, self.recipe.student.precision)
            counted = {"weights"} if self._white_box else set[str]()
            parts += [(f"teacher's {f.name}", int(f.amount), f.origin) for f in beside if f.name not in counted]
        return [Figure(TRAINING, name, amount, Unit.BYTES, origin) for name, amount, origin in parts if amount]

    @property
    def _local_teacher(self) -> Described | None:
        return self.teacher if self.recipe.teacher.kind == "local" else None

    @property
    def _white_box(self) -> bool:
        """Whether training asks the local teacher."""
        return Need.TEACHER in self.recipe.method.objective.needs and self._local_teacher is not None

    def _acting(self) -> list[Figure]:
        s, teacher = self.recipe.student, self.recipe.teacher
        figures = self._held(STUDENT, self.student, s.context_tokens, None if s.served else s.precision)
        if self.teacher is not None and isinstance(teacher, LocalTeacher):
            figures += self._held(TEACHER, self.teacher, teacher.context_tokens, teacher.precision)
        elif self.teacher is not None and isinstance(teacher, EndpointTeacher):
            figures += self._held(TEACHER, self.teacher, s.context_tokens, None)
        return figures

    def _held(self, group: str, model: Described, context: int, precision: Precision | None) -> list[Figure]:
        """A model's weights, and what its trajectories leave in its cache. `precision` is None at a server, which
        rounds no room up."""
        served = precision is None
        dtype = dtype_of(model) if precision is None else torch.float32
        cached = dtype if precision is None else self.machine.multiplied(precision)
        room = context if served else -(-context // GROWTH) * GROWTH
        slots = self.recipe.concurrency
        cache = model.size.cached_values * cached.itemsize * room * slots
        origin = f"{slots} trajectories (concurrency) x {room:,} tokens, all at full length, in {_name(cached)}"
        weights = model.size.parameters * dtype.itemsize
        figures = [Figure(group, "weights", weights, Unit.BYTES, f"{model.size.parameters:,} in {_name(dtype)}")]
        if not served and not (self.machine.on_gpu and cached is dtype):
            copies = model.size.linear * cached.itemsize
            figures.append(Figure(group, "copies for acting", copies, Unit.BYTES, f"linear layers in {_name(cached)}"))
        return [*figures, Figure(group, "keys and values", cache, Unit.BYTES, origin)]

    def _on_cpu(self, sums: dict[str, float]) -> list[Finding]:
        """One process does all of it; what is served is elsewhere."""
        local_student = self.recipe.student.served is None
        local_teacher = self.recipe.teacher.kind == "local"
        acting = self.assumed.library_gib * GIB
        acting += sums[STUDENT] * local_student + sums[TEACHER] * local_teacher
        findings = [self._judged(TRAINING, sums[TRAINING], self.machine.memory, self._lighter(), "main memory")]
        if local_student or local_teacher:
            cure = "lower concurrency or context_tokens"
            findings.append(self._judged("acting", acting, self.machine.memory, cure, "main memory"))
        return findings

    def _on_gpus(self, sums: dict[str, float]) -> list[Finding]:
        """Training has one GPU, which the models that act in its process share; each server has its own."""
        one = self.machine.memory - self.assumed.gpu_overhead_gib * GIB
        findings = [self._judged(TRAINING, sums[TRAINING], one, self._lighter(), "one GPU")]
        local = sums[STUDENT] * (self.recipe.student.served is None)
        local += sums[TEACHER] * (self.recipe.teacher.kind == "local")
        if local:
            cure = "lower concurrency or context_tokens, or serve it (student.served)"
            findings.append(self._judged("acting", local, one, cure, "one GPU"))
        wanted = {"training": 1, **self._servers(sums)}
        shared = ", ".join(f"{name}: {count}" for name, count in wanted.items())
        enough = sum(wanted.values()) <= self.machine.gpus
        cure = "" if enough else "give --gpus more, or lower concurrency: servers then hold fewer trajectories"
        found = f"{shared}; {sum(wanted.values())} of {self.machine.gpus}"
        return [*findings, Finding("GPUs", Verdict.FITS if enough else Verdict.SHORT, found, cure)]

    def _servers(self, sums: dict[str, float]) -> dict[str, int]:
        """How many GPUs each server wants: a power of two, as tensor parallelism shares heads out."""
        served = {
            "student's server": sums[STUDENT] * (self.recipe.student.served is not None),
            "teacher's server": sums[TEACHER] * isinstance(self.recipe.teacher, EndpointTeacher),
        }
        one = self.machine.memory * self.assumed.served_share
        return {name: 1 << math.ceil(math.log2(max(1.0, held / one))) for name, held in served.items() if held}

    def _judged(self, part: str, wanted: float, there: float, cure: str, where: str) -> Finding:
        fits = wanted <= there
        found = f"{wanted / GIB:.1f} GiB of {there / GIB:.1f} GiB of {where}"
        return Finding(f"memory: {part}", Verdict.FITS if fits else Verdict.SHORT, found, "" if fits else cure)

    def _lighter(self) -> str:
        """What would make training smaller, of what the recipe does not do yet."""
        settings = self.recipe.training
        ways = [] if settings.gradient_checkpointing else ["training.gradient_checkpointing=true"]
        ways += ["training.parameters=lora"] if settings.parameters != "lora" else []
        ways += ["training.parameters=top_layers with fewer of them"] if settings.parameters != "lora" else []
        ways.append("a smaller training.max_tokens (labels of longer states are then left out)")
        return f"try {', '.join(ways)}, or a GPU with more memory (rollin trains in one process: more GPUs don't help)"


def dtype_of(model: Described) -> torch.dtype:
    """The dtype of a checkpoint's own weights."""
    named = getattr(model.config, "dtype", None)
    if isinstance(named, str):
        named = getattr(torch, named, None)
    return named if isinstance(named, torch.dtype) else torch.float32


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _sum(figures: list[Figure], group: str) -> float:
    return sum(figure.amount for figure in figures if figure.group == group)
