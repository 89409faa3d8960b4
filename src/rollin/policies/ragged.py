"""One forward pass for many conversations at different lengths, without padding.

A batch of conversations is *ragged*: each has its own past and its own new tokens. They are laid end to end in one
row, [1, all new tokens]; every layer but attention treats tokens alone and does not care. Attention takes the row
apart again: each conversation's queries see its own slot of the key/value cache and nothing else. So a prompt of 400
tokens and fifteen single decoded tokens share one pass over the weights, which is what a CPU's time goes into.
(The layout is that of vLLM's and FlashAttention's "varlen" batches; the attention here is torch's own, slot by slot.)

Segment      the new tokens of one conversation: its slot, how many tokens came before, how many are new
SlotCache    keys and values, [slot][layer] -> [key/value heads, capacity, head size]
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "rollin_ragged"
"""The attention implementation to load a model with; without segments it is plain SDPA, so it trains as well."""

GROWTH = 512
"""Tokens by which a slot grows."""


@dataclass(frozen=True)
class Segment:
    """New tokens of one conversation."""

    slot: int
    past: int
    new: int


class SlotCache:
    """Keys and values of up to `slots` conversations."""

    def __init__(self, model: PreTrainedModel, slots: int) -> None:
        config = model.config
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        self._shape = (2, getattr(config, "num_key_value_heads", None) or heads, 0, size)
        self._like = next(model.parameters())
        self._layers = config.num_hidden_layers
        self._slots: list[list[torch.Tensor]] = [[] for _ in range(slots)]

    def reserve(self, slot: int, tokens: int) -> None:
        """Make room for `tokens` tokens in a slot, keeping what it holds."""
        held = self._slots[slot]
        capacity = held[0].shape[2] if held else 0
        if tokens <= capacity:
            return
        room = -(-tokens // GROWTH) * GROWTH - capacity
        extra = [self._like.new_empty((*self._shape[:2], room, self._shape[3])) for _ in range(self._layers)]
        self._slots[slot] = [torch.cat([old, new], 2) for old, new in zip(held, extra, strict=True)] if held else extra

    def layer(self, slot: int, layer: int) -> torch.Tensor:
        """[2 (keys, values), key/value heads, capacity, head size]."""
        return self._slots[slot][layer]


@dataclass(frozen=True)
class RaggedBatch:
    """What attention has to know about the row of tokens."""

    cache: SlotCache
    segments: list[Segment]


def ragged_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    ragged: RaggedBatch | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: query [1, heads, tokens, size] -> ([1, tokens, heads, size], None)."""
    if ragged is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **rest)
    outputs, start = [], 0
    for segment in ragged.segments:
        end, length = start + segment.new, segment.past + segment.new
        cache = ragged.cache.layer(segment.slot, module.layer_idx)  # type: ignore[arg-type]
        cache[0, :, segment.past : length] = key[0, :, start:end]
        cache[1, :, segment.past : length] = value[0, :, start:end]
        outputs.append(_attend(query[0, :, start:end], cache[:, :, :length], segment, scaling))
        start = end
    return torch.cat(outputs, 1).transpose(0, 1)[None], None


def _attend(query: torch.Tensor, cache: torch.Tensor, segment: Segment, scaling: float | None) -> torch.Tensor:
    """query [heads, new, size] over one slot's [2, key/value heads, length, size]."""
    heads, new, size = query.shape
    shared = cache.shape[1]
    # Query heads that share a key/value head become further queries of it: grouped attention without copying keys.
    grouped = query.reshape(shared, heads // shared * new, size)
    mask = None
    if new > 1:
        causal = torch.ones(new, cache.shape[2], dtype=torch.bool, device=query.device).tril(segment.past)
        mask = causal.repeat(heads // shared, 1)
    # Four dimensions, not three: torch's fast kernel on a CPU wants them (2-3 times the speed of its fallback).
    attended = scaled_dot_product_attention(grouped[None], cache[:1], cache[1:], attn_mask=mask, scale=scaling)
    return attended.reshape(heads, new, size)


SMALL_BATCH = 32
"""Tokens up to which the weights, not the tokens, go first."""


class SmallBatchLinear(torch.nn.Linear):
    """A linear layer that computes W x' instead of x W' for a few tokens on a CPU.

    The result is the same; the BLAS behind torch reads the weights faster so, and reading the weights is what decoding
    costs (benchmarks/local_policy.py).
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        tokens = input.numel() // input.shape[-1]
        if tokens > SMALL_BATCH or torch.is_grad_enabled() or self.bias is not None or input.is_cuda:
            return super().forward(input)
        flat = self.weight @ input.reshape(tokens, -1).t()
        return flat.t().reshape(*input.shape[:-1], -1)


def quicken(model: PreTrainedModel) -> None:
    """Let the model's linear layers be quick on few tokens, too. Weights, names and training stay as they are."""
    for module in model.modules():
        if type(module) is torch.nn.Linear:
            module.__class__ = SmallBatchLinear


def forward(model: PreTrainedModel, cache: SlotCache, rows: list[tuple[Segment, list[int]]]) -> torch.Tensor:
    """Run the new tokens of each segment; the logits after each segment's last token, [segments, vocabulary]."""
    segments = [segment for segment, _ in rows]
    ids = torch.tensor([[token for _, tokens in rows for token in tokens]], device=model.device)
    positions = torch.cat([torch.arange(s.past, s.past + s.new) for s in segments])[None].to(model.device)
    last = torch.tensor([s.new for s in segments]).cumsum(0) - 1
    for segment in segments:
        cache.reserve(segment.slot, segment.past + segment.new)
    output = model(
        input_ids=ids,
        position_ids=positions,
        # A mask of one's own shape keeps transformers from building one: attention needs none here.
        attention_mask=torch.zeros(1, 1, 1, 1, device=model.device),
        use_cache=False,
        logits_to_keep=last.to(model.device),
        ragged=RaggedBatch(cache, segments),
    )
    logits: torch.Tensor = output.logits[0]
    return logits


AttentionInterface.register(ATTENTION, ragged_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
