"""Attention over conversations of different lengths: what each would get alone."""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    MistralForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from rollin.errors import UserError
from rollin.models import check_attention, load_model
from rollin.policies.ragged import SHORT, RaggedBatch, Segment, SlotCache, ragged_attention

SLOTS, LONGEST = 40, 60


@pytest.fixture
def cache(tiny_model: PreTrainedModel) -> SlotCache:
    """Full of keys and values; what lies behind a conversation's end is another's."""
    torch.manual_seed(0)
    cache = SlotCache(tiny_model, torch.float32)
    cache.reserve(SLOTS, LONGEST)
    cache.layers[0].normal_()
    return cache


def conversations(rows: int, new: int, seed: int) -> list[Segment]:
    chance = random.Random(seed)
    slots = sorted(chance.sample(range(SLOTS), rows))
    return [Segment(slot, chance.randrange(LONGEST - new), chance.randint(1, new)) for slot in slots]


@pytest.mark.parametrize(("rows", "new"), [(1, 1), (3, SHORT), (SLOTS, 1), (SLOTS, SHORT), (12, 3), (5, 20)])
def test_each_conversation_gets_what_it_would_get_alone(cache: SlotCache, rows: int, new: int) -> None:
    segments = conversations(rows, new, seed=rows)
    segments.sort(key=lambda segment: segment.new <= SHORT)
    before = cache.layers[0].clone()
    heads, size = before.shape[2], before.shape[4]
    tokens = sum(segment.new for segment in segments)
    query = torch.randn(1, heads * cache.group, tokens, size).to(before.device)
    key, value = torch.randn(2, 1, heads, tokens, size).to(before.device)
    layer = SimpleNamespace(layer_idx=0)
    attended, _ = ragged_attention(layer, query, key, value, None, ragged=RaggedBatch.of(cache, segments))  # type: ignore[arg-type]
    start = 0
    for segment in segments:
        own = slice(start, start + segment.new)
        past = before[:, None, segment.slot, :, : segment.past]
        keys, values = (torch.cat([p, n[:, :, own]], 2) for p, n in zip(past, (key, value), strict=True))
        seen = torch.ones(segment.new, segment.length, dtype=torch.bool, device=key.device).tril(segment.past)
        alone = scaled_dot_product_attention(query[:, :, own], keys, values, attn_mask=seen, enable_gqa=True)
        torch.testing.assert_close(attended[:, own], alone.transpose(1, 2))
        start += segment.new


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU all short ones go together")
def test_many_short_ones_go_together_and_few_or_scattered_ones_apart(cache: SlotCache) -> None:
    assert RaggedBatch.of(cache, [Segment(slot, 100, 1) for slot in range(SLOTS)]).together
    assert not RaggedBatch.of(cache, [Segment(slot, 100, 1) for slot in range(3)]).together
    assert not RaggedBatch.of(cache, [Segment(slot, 1000, 1) for slot in range(0, SLOTS, 4)]).together
    uneven = [Segment(0, 2000, SHORT), *(Segment(slot, 50, 1) for slot in range(1, SLOTS))]
    assert not RaggedBatch.of(cache, uneven).together


def test_a_cache_grows_with_what_is_in_use_and_keeps_it(tiny_model: PreTrainedModel) -> None:
    cache = SlotCache(tiny_model, torch.float32)
    cache.reserve(3, 10)
    held = [torch.randn_like(layer) for layer in cache.layers]
    slots, room = held[0].shape[1], held[0].shape[3]
    assert 3 <= slots < 8
    for layer, values in zip(cache.layers, held, strict=True):
        layer.copy_(values)
    cache.reserve(slots + 1, room + 1)
    cache.reserve(1, 1)
    for layer, values in zip(cache.layers, held, strict=True):
        assert layer.shape[1] > slots
        assert layer.shape[3] > room
        assert torch.equal(layer[:, :slots, :, :room], values)
    cache.clear()
    assert sum(layer.numel() for layer in cache.layers) == 0


@pytest.mark.parametrize(
    "config",
    [LlamaConfig(), Qwen2Config(), Qwen3Config(), MistralConfig(sliding_window=None), Qwen2Config(sliding_window=64)],
)
def test_models_that_see_everything_before_are_taken(config: PretrainedConfig) -> None:
    check_attention(config, "x")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (MistralConfig(sliding_window=1024), "sliding_attention"),
        (Gemma3TextConfig(), "sliding_attention"),
        (Gemma2Config(), "capped scores"),
        (Qwen2Config(use_sliding_window=True, sliding_window=64, max_window_layers=1), "sliding_attention"),
        (PretrainedConfig(), "no text model by itself"),
    ],
)
def test_models_that_attend_otherwise_are_refused(config: PretrainedConfig, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_attention(config, "x")


def test_a_model_that_attends_otherwise_is_not_loaded(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    MistralForCausalLM(MistralConfig(vocab_size=8, num_key_value_heads=2, sliding_window=64, **sizes)).save_pretrained(
        tmp_path
    )
    with pytest.raises(UserError, match="sliding_attention"):
        load_model(str(tmp_path))
