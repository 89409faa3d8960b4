"""One forward pass for many conversations at different lengths, without padding.

A batch of conversations is *ragged*: each has its own past and its own new tokens. They are laid end to end in one
row, [1, all new tokens]; every layer but attention treats tokens alone and does not care. Attention takes the row
apart again: each conversation's queries see its own slot of the key/value cache and nothing else (a few tokens each of
many conversations in one call, longer pieces one by one). So a prompt of 400 tokens and fifteen conversations that
decode share one pass over the weights, which is what a CPU's time goes into.
(The layout is that of vLLM's and FlashAttention's "varlen" batches; the attention here is torch's own, slot by slot.)

Segment      the new tokens of one conversation: its slot, how many tokens came before, how many are new
SlotCache    the keys and values of all conversations, a tensor for each layer
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "rollin_ragged"
"""The attention implementation to load a model with. Without segments it is plain SDPA, so it trains as well."""

GROWTH, SLOTS = 512, 4
"""Tokens by which the slots grow, and slots that are added at once."""
SHORT = 7
"""New tokens of a conversation up to which it is attended to together with others."""
CALL = 3_000
"""They are, unless the padding makes that dearer: what attending to one costs before it begins, in pairs of a query
and a key."""
CALL_TOGETHER = 21_000
"""What attending to all together costs before it begins."""


@dataclass(frozen=True)
class Segment:
    """New tokens of one conversation."""

    slot: int
    past: int
    new: int
    wanted: int = 1
    """After how many of them, from the last, logits are wanted."""

    @property
    def length(self) -> int:
        """Of the conversation, its new tokens included."""
        return self.past + self.new


class SlotCache:
    """Keys and values of conversations; all slots have the same room."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        config = model.config
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        shape = (2, 0, getattr(config, "num_key_value_heads", None) or heads, 0, size)
        like = next(model.parameters())
        self.group = heads // shape[2]
        """Query heads that share a key/value head."""
        self.layers = [like.new_zeros(shape, dtype=dtype) for _ in range(config.num_hidden_layers)]
        """For each layer [2 (keys, values), slots, key/value heads, capacity, head size]."""

    @property
    def on_gpu(self) -> bool:
        return not self.layers[0].is_cpu

    def hiding(self, *shape: int) -> torch.Tensor:
        """An additive mask that hides everything. (Of a boolean one each layer would make an additive one anew.)"""
        return self.layers[0].new_full(shape, float("-inf"))

    def reserve(self, slots: int, tokens: int) -> None:
        """Have `slots` slots with room for `tokens` tokens each, keeping what they hold."""
        more = max(0, -(-slots // SLOTS) * SLOTS - self.layers[0].shape[1])
        room = max(0, -(-tokens // GROWTH) * GROWTH - self.layers[0].shape[3])
        if more or room:
            for number, layer in enumerate(self.layers):  # one by one, so that old and new are never all there
                self.layers[number] = torch.nn.functional.pad(layer, (0, 0, 0, room, 0, 0, 0, more))

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Let a slot hold the tokens from `start` to `end` as another one does; those before have to be the same."""
        for layer in self.layers:
            layer[:, target, :, start:end] = layer[:, source, :, start:end]

    def clear(self) -> None:
        """Give all room back."""
        self.layers = [layer[:, :0, :, :0].clone() for layer in self.layers]


@dataclass(frozen=True)
class RaggedBatch:
    """What attention has to know about the row of tokens: first the longer segments, then the short ones."""

    cache: SlotCache
    longer: list[Segment]
    short: list[Segment]

    @classmethod
    def of(cls, cache: SlotCache, segments: list[Segment]) -> "RaggedBatch":
        """The segments have to be in that order already."""
        longer = [segment for segment in segments if segment.new > SHORT]
        return cls(cache, longer, segments[len(longer) :])

    @cached_property
    def together(self) -> "_Together | None":
        """The short segments as one batch, where that pays."""
        if len(self.short) < 2:
            return None
        slots = [segment.slot for segment in self.short]
        padded = (max(slots) + 1 - min(slots)) * max(s.new for s in self.short) * max(s.length for s in self.short)
        alone = sum(CALL + s.new * s.length for s in self.short)
        cheaper = CALL_TOGETHER + padded < alone or self.cache.on_gpu  # which is idle while calls are prepared
        return _Together.of(self.short, self.cache) if cheaper else None

    @cached_property
    def apart(self) -> list[tuple[Segment, torch.Tensor | None]]:
        """The segments that are attended to one by one; for each the mask [group x new, length] of what its tokens may
        not see, None where they see everything."""
        return [(each, self._mask(each)) for each in (self.longer if self.together else self.longer + self.short)]

    def _mask(self, segment: Segment) -> torch.Tensor | None:
        if segment.new == 1:
            return None
        return self.cache.hiding(segment.new, segment.length).triu(segment.past + 1).repeat(self.cache.group, 1)


@dataclass(frozen=True)
class _Together:
    """Short segments, seen as a padded batch over the range of slots from the lowest to the highest."""

    low: int
    high: int
    width: int
    """The longest segment."""
    length: int
    """The longest conversation, its new tokens included."""
    slot: torch.Tensor
    column: torch.Tensor
    place: torch.Tensor
    """For each token: its slot, its number in its segment, its position in its conversation."""
    mask: torch.Tensor
    """[slots in the range, 1, group x width, length]: -inf at the keys that a query may not see."""

    @classmethod
    def of(cls, segments: list[Segment], cache: SlotCache) -> "_Together":
        slot = torch.tensor([segment.slot for segment in segments for _ in range(segment.new)])
        column = torch.tensor([number for segment in segments for number in range(segment.new)])
        place = torch.tensor([segment.past + number for segment in segments for number in range(segment.new)])
        low, high = int(slot.min()), int(slot.max()) + 1
        width, length = int(column.max()) + 1, int(place.max()) + 1
        last = torch.zeros(high - low, width, dtype=torch.long)  # where there is no token, one key, and nobody looks
        last[slot - low, column] = place
        seen = torch.arange(length) <= last[:, :, None]
        hidden = cache.hiding(high - low, width, length).masked_fill_(seen.to(cache.layers[0].device), 0.0)
        mask = hidden.repeat(1, cache.group, 1)[:, None]
        slot, column, place = (index.to(mask.device) for index in (slot, column, place))
        return cls(low, high, width, length, slot, column, place, mask)


def ragged_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | BlockMask | None,
    scaling: float | None = None,
    ragged: RaggedBatch | None = None,
    packed: bool = False,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: query [1, heads, tokens, size] -> ([1, tokens, heads, size], None).

    `packed` says that the mask is a trie's (see `training/masks.py`).
    """
    if isinstance(attention_mask, BlockMask):
        query, key = query.to(value.dtype), key.to(value.dtype)  # autocast leaves them as the rotation made them
        return flex_attention_forward(module, query, key, value, attention_mask, scaling=scaling)[0], None
    if packed and attention_mask is not None and query.device.type == "cpu" and not rest.get("dropout"):
        return packed_attention(query, key, value, attention_mask, scaling), None
    if ragged is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **rest)
    cache = ragged.cache.layers[module.layer_idx]  # type: ignore[index]
    fresh, seen_as = torch.stack([key[0], value[0]]).to(cache.dtype), query.dtype
    query = query.to(cache.dtype)
    outputs, start = [], 0
    for segment, mask in ragged.apart:
        end, length = start + segment.new, segment.length
        cache[:, segment.slot, :, segment.past : length] = fresh[:, :, start:end]
        outputs.append(_attend(query[0, :, start:end], cache[:, segment.slot, :, :length], mask, scaling))
        start = end
    if ragged.together:
        outputs.append(_attend_together(query[0, :, start:], fresh[:, :, start:], cache, ragged.together, scaling))
    return torch.cat(outputs, 1).transpose(0, 1)[None].to(seen_as), None


def packed_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Attention within a packed trie, where no node sees a later one: [1, tokens, heads, size].

    The kernel below SDPA on a CPU skips that half of the work if it is told so; SDPA itself takes a mask or that
    hint, not both.
    """
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    query, key = query.to(value.dtype), key.to(value.dtype)  # a kernel so low is not cast for by autocast
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    attended: torch.Tensor = kernel(query, key, value, 0.0, True, attn_mask=mask.to(value.dtype), scale=scaling)[0]
    return attended.transpose(1, 2).contiguous()


def _attend(query: torch.Tensor, cache: torch.Tensor, mask: torch.Tensor | None, scaling: float | None) -> torch.Tensor:
    """query [heads, new, size] over one slot's [2, key/value heads, length, size]."""
    heads, new, size = query.shape
    shared = cache.shape[1]
    # Query heads that share a key/value head become further queries of it: grouped attention without copying keys.
    grouped = query.reshape(shared, heads // shared * new, size)
    # Four dimensions, not three: torch's fast kernel on a CPU wants them (2-3 times the speed of its fallback).
    attended = scaled_dot_product_attention(grouped[None], cache[:1], cache[1:], attn_mask=mask, scale=scaling)
    return attended.reshape(heads, new, size)


def _attend_together(
    query: torch.Tensor, fresh: torch.Tensor, cache: torch.Tensor, batch: _Together, scaling: float | None
) -> torch.Tensor:
    """query [heads, tokens, size], fresh [2, key/value heads, tokens, size]: the short segments in one call."""
    heads, tokens, size = query.shape
    shared, slots, row = cache.shape[2], batch.high - batch.low, batch.slot - batch.low
    cache[:, batch.slot, :, batch.place] = fresh.permute(2, 0, 1, 3)
    queries = query.new_zeros(slots, shared, heads // shared, batch.width, size)
    queries[row, :, :, batch.column] = query.transpose(0, 1).reshape(tokens, shared, heads // shared, size)
    keys, values = cache[:, batch.low : batch.high, :, : batch.length]
    attended = scaled_dot_product_attention(queries.flatten(2, 3), keys, values, attn_mask=batch.mask, scale=scaling)
    return attended.view_as(queries)[row, :, :, batch.column].reshape(tokens, heads, size).transpose(0, 1)


class QuickLinear(torch.nn.Linear):
    """A linear layer that is quick where no gradient is wanted; in training, a plain one.

    It multiplies by a copy of its weights: in bfloat16, or on a CPU in float32 in the order in which oneDNN's kernels
    read them. A plain layer brings its weights into such an order at each call, which for the tens of tokens of a
    decoding batch costs as much as multiplying (benchmarks/local_policy.py).
    """

    copy: torch.Tensor | None = None
    """None until `quicken`, and after `slacken`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if self.copy is None or torch.is_grad_enabled():
            return super().forward(input)
        product = _multiply(input.to(self.copy.dtype), self.copy).to(input.dtype)
        return product if self.bias is None else product + self.bias

    def __getstate__(self) -> dict[str, Any]:
        """Copied or sent elsewhere, it is plain: what oneDNN ordered can't go along."""
        return {**self.__dict__, "copy": None}


def _multiply(input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not weight.is_mkldnn:
        return linear(input, weight)
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, None, "none", [], "")
    return product


def quicken(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Let the model's linear layers be quick, with the weights as they are now. Names and training stay the same."""
    for module in model.modules():
        if type(module) is torch.nn.Linear:
            module.__class__ = QuickLinear
        if isinstance(module, QuickLinear) and not module.weight.is_meta:
            module.copy = _ordered(module.weight.detach().to(dtype))


def slacken(model: PreTrainedModel) -> None:
    """Give the copies' memory back."""
    for module in model.modules():
        if isinstance(module, QuickLinear):
            module.copy = None


def _ordered(weight: torch.Tensor) -> torch.Tensor:
    """As oneDNN wants float32; bfloat16, where it was not measured, as it is, and so all on a GPU."""
    if not weight.is_cpu or weight.dtype is not torch.float32 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return weight
    ordered: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return ordered


def forward(model: PreTrainedModel, cache: SlotCache, rows: list[tuple[Segment, list[int]]]) -> list[torch.Tensor]:
    """Run the new tokens of each segment; for each the logits after its last tokens, [wanted, vocabulary]."""
    order = sorted(range(len(rows)), key=lambda index: rows[index][0].new <= SHORT)
    ordered = [rows[index] for index in order]
    segments = [segment for segment, _ in ordered]
    ids = torch.tensor([[token for _, tokens in ordered for token in tokens]], device=model.device)
    positions = torch.cat([torch.arange(s.past, s.past + s.new) for s in segments])[None].to(model.device)
    ends = torch.tensor([s.new for s in segments]).cumsum(0)
    wanted = torch.cat([torch.arange(end - s.wanted, end) for s, end in zip(segments, ends.tolist(), strict=True)])
    cache.reserve(max(s.slot for s in segments) + 1, max(s.length for s in segments))
    output = model(
        input_ids=ids,
        position_ids=positions,
        # A mask of one's own shape keeps transformers from building one: attention needs none here.
        attention_mask=torch.zeros(1, 1, 1, 1, device=model.device),
        use_cache=False,
        logits_to_keep=wanted.to(model.device),
        ragged=RaggedBatch.of(cache, segments),
    )
    parts = output.logits[0].split([segment.wanted for segment in segments])
    return [part for _, part in sorted(zip(order, parts, strict=True), key=lambda pair: pair[0])]


AttentionInterface.register(ATTENTION, ragged_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
