"""Parts that many tests share: a real tokenizer, a tiny random model, the real 135M model."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gateway_room import Run
from hypothesis import HealthCheck, settings
from scripted import make_task
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from rollin.gateway import Gateway
from rollin.models import PACKAGED, load_model, load_tokenizer
from rollin.policies.ragged import ATTENTION
from rollin.store import Store

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or LiteLLM asks the network for its price list
# A busy machine is slow, which is no failure of what a property test tests.
settings.register_profile("rollin", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rollin")


LONGEST = ("test_run.py", "test_comparison.py", "test_command.py")
"""Files that take minutes: begun last, they would leave one of two processes idle."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """SmolLM2's."""
    return load_tokenizer(PACKAGED)


@pytest.fixture(scope="session")
def tiny_directory(tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised Llama of 2 layers with SmolLM2's tokenizer, as a checkpoint directory."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        initializer_range=0.3,  # or its scores are so flat that rounding decides what is greedy
    )
    directory = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def brief_directory(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that says `done` and ends its message, nine times out of ten. It can read 8,192 tokens."""
    tokenizer = load_tokenizer(str(tiny_directory))
    config = LlamaConfig.from_pretrained(tiny_directory, tie_word_embeddings=False, max_position_embeddings=8192)
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    (word,), end = tokenizer.encode("done", add_special_tokens=False), tokenizer.convert_tokens_to_ids("<|im_end|>")
    with torch.no_grad():
        # The first dimension says that any other token came last, the second that `done` did; no layer writes there.
        model.model.embed_tokens.weight[:, :2] = torch.tensor([1000.0, 0.0])
        model.model.embed_tokens.weight[word, :2] = torch.tensor([0.0, 1000.0])
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[:2] = 0
            layer.mlp.down_proj.weight[:2] = 0
        sure = 13 / config.hidden_size**0.5  # against 50,000 others
        model.lm_head.weight.zero_()
        model.lm_head.weight[word, 0] = model.lm_head.weight[end, 1] = sure
    directory = tmp_path_factory.mktemp("brief")
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture
def tiny_model(tiny_directory: Path) -> PreTrainedModel:
    return load_model(str(tiny_directory), ATTENTION)


@pytest.fixture(scope="session")
def smollm() -> PreTrainedModel:
    """The real 135M model. Tests must leave its weights as they are."""
    return load_model(PACKAGED, ATTENTION)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A gateway over scripted policies."""
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        store.add_tasks([make_task()])
        yield Run(store, gateway)
