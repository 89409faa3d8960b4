"""The trie: every distinct token once, and the same loss and gradients as separate samples."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from rollin.errors import UserError
from rollin.training.settings import TrainingSettings
from rollin.training.trainer import as_inputs, train, trie_loss
from rollin.training.trie import Sample, pack, pack_groups

TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=6)
SAMPLES = st.lists(st.builds(Sample, TOKENS, TOKENS, st.sampled_from([0.5, 1.0, 2.0])), min_size=1, max_size=6)


def path_to(trie: object, node: int) -> list[int]:
    """The tokens that a node attends to, itself included."""
    return trie.ids[trie.attention()[node].numpy()].tolist()  # type: ignore[attr-defined]


@given(SAMPLES)
def test_each_node_attends_to_its_own_prefix_and_no_prefix_occurs_twice(samples: list[Sample]) -> None:
    trie = pack(samples)
    paths = [tuple(path_to(trie, node)) for node in range(len(trie))]
    prefixes = {tuple((s.state + s.label)[: n + 1]) for s in samples for n in range(s.tokens)}
    assert sorted(paths) == sorted(prefixes)
    assert [len(path) - 1 for path in paths] == trie.depth.tolist()


@given(SAMPLES)
def test_targets_are_the_label_tokens_after_their_own_context(samples: list[Sample]) -> None:
    trie = pack(samples)
    found = sorted(
        (tuple(path_to(trie, source)), int(target), float(weight))
        for source, target, weight in zip(trie.source, trie.target, trie.weight, strict=True)
    )
    expected = sorted(((*s.state, *s.label[:n]), token, s.weight) for s in samples for n, token in enumerate(s.label))
    assert found == expected


@given(SAMPLES, st.integers(12, 40))
def test_cutting_a_group_keeps_every_target_and_the_limit(samples: list[Sample], limit: int) -> None:
    tries = pack_groups([samples], limit)
    assert all(len(trie) <= limit for trie in tries)
    assert sum(len(trie.target) for trie in tries) == sum(len(s.label) for s in samples)


def test_a_sample_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="more than the limit"):
        pack_groups([[Sample([1] * 10, [2])]], 5)


def test_an_empty_state_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        pack([Sample([], [1])])


def separate_loss(model: PreTrainedModel, samples: list[Sample]) -> torch.Tensor:
    """The plain way: one forward pass a sample, causal attention, nothing shared."""
    total = torch.zeros(())
    for sample in samples:
        logits = model(torch.tensor([sample.state + sample.label])).logits[0]
        predicted = logits[len(sample.state) - 1 : -1]
        total = total + sample.weight * cross_entropy(predicted, torch.tensor(sample.label), reduction="sum")
    return total


def trajectory(turns: int, vocabulary: int, seed: int) -> list[Sample]:
    """States that grow from each other; every other executed action is the label itself."""
    chance = np.random.default_rng(seed)
    state: list[int] = []
    samples = []
    for turn in range(turns):
        state = state + chance.integers(3, vocabulary, 12).tolist()
        label = chance.integers(3, vocabulary, 5).tolist()
        samples.append(Sample(state, label, weight=1.0 + turn % 2))
        state = state + (label if turn % 2 else chance.integers(3, vocabulary, 4).tolist())
    return samples


def assert_same_loss_and_gradients(model: PreTrainedModel, samples: list[Sample]) -> None:
    gradients = []
    losses = []
    for loss in (lambda: separate_loss(model, samples), lambda: trie_loss(model, as_inputs(pack(samples)))):
        model.zero_grad()
        value = loss()
        value.backward()
        losses.append(value.item())
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        assert (gradients[1][name] - expected).norm() <= 1e-4 * expected.norm(), name


@settings(max_examples=10, deadline=None)
@given(turns=st.integers(1, 6), seed=st.integers(0, 1000))
def test_loss_and_gradients_equal_those_of_separate_samples(
    tiny_model_shared: PreTrainedModel, turns: int, seed: int
) -> None:
    assert_same_loss_and_gradients(tiny_model_shared, trajectory(turns, 1000, seed))


def test_loss_and_gradients_equal_on_the_real_model(smollm: PreTrainedModel) -> None:
    smollm.requires_grad_(True)
    assert_same_loss_and_gradients(smollm, trajectory(4, 40000, 0))
    smollm.zero_grad()


@pytest.fixture(scope="module")
def tiny_model_shared(tiny_directory: Path) -> PreTrainedModel:
    from rollin.models import load_model
    from rollin.policies.ragged import ATTENTION

    return load_model(str(tiny_directory), ATTENTION)


def test_a_model_with_dropout_keeps_it(tiny_model: PreTrainedModel) -> None:
    """The kernel for packed tries knows no dropout, so it is not used there."""
    inputs = as_inputs(pack(trajectory(3, 1000, 0)))
    for layer in tiny_model.get_decoder().layers:  # type: ignore[no-untyped-call]
        layer.self_attn.attention_dropout = 0.5
    assert trie_loss(tiny_model, inputs).item() == trie_loss(tiny_model, inputs).item()
    tiny_model.train()
    assert trie_loss(tiny_model, inputs).item() != trie_loss(tiny_model, inputs).item()


@pytest.mark.parametrize("parameters", ["full", "top_layers", "lora"])
def test_training_lowers_the_loss_and_moves_only_what_it_may(
    tiny_model: PreTrainedModel, tmp_path: Path, parameters: str
) -> None:
    before = {name: p.detach().clone() for name, p in tiny_model.named_parameters()}
    tries = [pack(trajectory(3, 1000, seed)) for seed in range(4)]
    loss = lambda: sum(trie_loss(tiny_model, as_inputs(trie)).item() for trie in tries)  # noqa: E731
    first = loss()
    settings = TrainingSettings(parameters=parameters, top_layers=1, learning_rate=1e-2, epochs=3)  # type: ignore[arg-type]
    told: list[int] = []
    result = train(
        tiny_model,
        tries,
        settings,
        separate_tokens=1,
        work_dir=tmp_path,
        seed=0,
        progress=lambda s, n, x: told.append(s),
    )
    assert loss() < first
    assert result.steps == 12 == told[-1]
    moved = {name for name, p in tiny_model.named_parameters() if not torch.equal(p, before[name])}
    assert tiny_model.state_dict().keys() >= before.keys()  # adapters are merged, and the names are the old ones
    below = "model.layers.0.mlp.up_proj.weight"
    assert "model.layers.1.mlp.up_proj.weight" in moved
    assert (below in moved) == (parameters != "top_layers")


def test_bfloat16_training_keeps_float32_weights_and_leaves_the_model_as_it_was(
    tiny_model: PreTrainedModel, tmp_path: Path
) -> None:
    """Where the processor lacks the instructions it is only slow."""
    tries = [pack(trajectory(3, 1000, seed)) for seed in range(4)]
    twin = copy.deepcopy(tiny_model)
    settings = TrainingSettings(learning_rate=1e-3, epochs=2)
    for _ in range(2):  # a run trains the same model again and again
        halved, whole = (
            train(model, tries, settings, precision=precision, separate_tokens=1, work_dir=tmp_path, seed=0).loss
            for model, precision in ((tiny_model, "bfloat16"), (twin, "float32"))
        )
        assert halved != whole
        assert halved == pytest.approx(whole, rel=0.03)
        twin.load_state_dict(tiny_model.state_dict())
    assert {parameter.dtype for parameter in tiny_model.parameters()} == {torch.float32}
    assert torch.equal(trie_loss(tiny_model, as_inputs(tries[0])), trie_loss(twin, as_inputs(tries[0])))


def test_training_without_labels_is_refused(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no labels"):
        train(tiny_model, [], TrainingSettings(), separate_tokens=0, work_dir=tmp_path, seed=0)


def test_more_top_layers_than_there_are_is_refused(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    settings = TrainingSettings(parameters="top_layers", top_layers=3)
    with pytest.raises(UserError, match="has 2 layers"):
        train(tiny_model, [pack(trajectory(1, 100, 0))], settings, separate_tokens=0, work_dir=tmp_path, seed=0)
