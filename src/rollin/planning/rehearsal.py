"""A training step rehearsed without memory: the trainer's own code on fake tensors, whose bytes are counted.

A fake tensor has a shape, a dtype and no content (torch's FakeTensorMode, on its meta device), so forward and backward
of a model of any size run on any machine in seconds, and every tensor that they would have held is seen to come and go:
activations, attention mask, logits, gradients and what lies between. Nothing about an architecture has to be known.

Meter        a dispatch mode that adds up what is held
rehearse     the peak of one optimizer step
"""

import warnings
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from rollin.planning.describing import Described
from rollin.policies.ragged import ATTENTION, quicken
from rollin.training.masks import in_blocks, matrix
from rollin.training.objectives import Objective
from rollin.training.settings import TrainingSettings
from rollin.training.trainer import select_parameters, trie_loss

GPU_ATTENTION = "rollin_rehearsed_gpu"
"""Stands in for the kernels that a GPU has for either mask (masks.py), by what they hold."""


@dataclass(frozen=True)
class Shape:
    """The longest trie of a training."""

    nodes: int
    targets: int
    """Its label tokens."""


@dataclass(frozen=True)
class Rehearsed:
    """Bytes at the peak of a step."""

    weights: int
    gradients: int
    optimizer: int
    """AdamW's two moments of every weight that moves."""
    mask: int
    """The matrix that hides, where there is one (masks.py)."""
    passing: int
    """Activations, logits, and what lies between, at the moment when all together is largest."""
    trainable: int
    """Weights that move (a number, not bytes)."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.mask + self.passing


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of tensors that are made while it is on, until they are gone."""

    def __init__(self, before: Iterable[torch.Tensor]) -> None:
        """What was there `before` is not counted when an operation hands it through."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = 0
        self.peak = 0
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in before)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tree_iter(output):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor)
        return output

    def count(self, tensor: torch.Tensor) -> None:
        """A tensor that shares another's memory adds nothing."""
        storage = tensor.untyped_storage()
        if storage not in self._known:
            self._known.add(storage)
            self.held += storage.nbytes()
            self.peak = max(self.peak, self.held)
            weakref.finalize(storage, self._gone, storage.nbytes())

    def _gone(self, size: int) -> None:
        self.held -= size


def rehearse(
    student: Described,
    settings: TrainingSettings,
    objective: Objective,
    shape: Shape,
    *,
    multiplied: torch.dtype,
    on_gpu: bool,
    teacher: Described | None = None,
) -> Rehearsed:
    """The peak of the optimizer step in which most is held: AdamW's moments are there and, where several tries make a
    step, the gradients of an earlier one. Raises UserError for settings that the model can't have."""
    attention = GPU_ATTENTION if on_gpu else ATTENTION
    with torch.device("meta"):
        plain = student.skeleton(attention)
        quicken(plain, torch.float32)
        model = select_parameters(plain, settings)
        beside = teacher.skeleton(attention) if teacher else None
    if settings.gradient_checkpointing:
        _checkpointed(plain)
    model.train()
    with FakeTensorMode():
        held = [*_faked(model), *(_faked(beside) if beside else [])]
        moving = [weight for weight in model.parameters() if weight.requires_grad]
        accumulated = settings.batch_trajectories > 1
        for weight in moving if accumulated else ():
            weight.grad = torch.zeros_like(weight)
        inputs = _inputs(shape)
        blocked = in_blocks(shape.nodes, student.config, on_gpu=on_gpu)
        hidden = torch.zeros(1, 1, 1, 1) if blocked else matrix(inputs["end"], multiplied)
        earlier = [weight.grad for weight in moving if weight.grad is not None]
        with Meter([*inputs.values(), hidden, *held, *earlier]) as meter:
            trie_loss(model, inputs, objective, beside, multiplied, hidden).backward()  # type: ignore[no-untyped-call]
        gradients = sum(map(_bytes, moving))
        return Rehearsed(
            weights=sum(map(_bytes, held)),
            gradients=gradients,
            optimizer=2 * gradients,
            mask=_bytes(hidden),
            passing=meter.peak if accumulated else max(0, meter.peak - gradients),
            trainable=sum(weight.numel() for weight in moving),
        )


def _faked(model: torch.nn.Module) -> list[torch.Tensor]:
    """Turn a model on the meta device into one of fake tensors on a CPU, where autocast is what it will be; all of its
    weights and buffers, each once."""
    known = dict[torch.Tensor, torch.Tensor]()
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if tensor not in known:
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype)
                    weight = isinstance(tensor, torch.nn.Parameter)
                    known[tensor] = torch.nn.Parameter(empty, tensor.requires_grad) if weight else empty
                tensors[name] = known[tensor]  # type: ignore[assignment]
    return [*known.values()]


def _checkpointed(model: PreTrainedModel) -> None:
    """As the trainer does it, but for the state of chance, which fake tensors have none of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the name changes in transformers 6
        how = {"use_reentrant": False, "preserve_rng_state": False}
        model.gradient_checkpointing_enable(how)  # type: ignore[no-untyped-call]


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _inputs(shape: Shape) -> dict[str, torch.Tensor]:
    """A trie's tensors, as `training.trainer.as_inputs` makes them."""
    nodes, targets = shape.nodes, shape.targets
    return {
        "input_ids": torch.zeros(1, nodes, dtype=torch.long),
        "position_ids": torch.zeros(1, nodes, dtype=torch.long),
        "end": torch.zeros(nodes, dtype=torch.long),
        "source": torch.zeros(targets, dtype=torch.long),
        "labels": torch.zeros(targets, dtype=torch.long),
        **{name: torch.zeros(targets) for name in ("weight", "behaviour", "teacher")},
    }


def memory_efficient(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """The kernel that SDPA takes on a GPU for a mask of one's own: scores are never all there, keys and values of
    grouped heads are repeated. FlexAttention holds no more. transformers' attention interface."""
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    query, key = query.to(value.dtype), key.to(value.dtype)
    by_matrix = attention_mask is not None and attention_mask.shape[-1] == key.shape[2]
    bias = attention_mask.expand(-1, query.shape[1], -1, -1) if by_matrix and attention_mask is not None else None
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    return kernel(query, key, value, bias, True, 0.0, False, scale=scaling)[0].transpose(1, 2).contiguous(), None


AttentionInterface.register(GPU_ATTENTION, memory_efficient)
AttentionMaskInterface.register(GPU_ATTENTION, sdpa_mask)
