"""The trie: every distinct token once, and the same loss and gradients as separate samples."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from rollin.errors import UserError
from rollin.policies.ragged import ATTENTION
from rollin.training.masks import BLOCK, blocks, matrix
from rollin.training.settings import TrainingSettings
from rollin.training.trainer import as_inputs, train, trie_loss
from rollin.training.trie import LEAST_SAVED, Sample, joined, pack, pack_groups, sees

TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=6)
SAMPLES = st.lists(st.builds(Sample, TOKENS, TOKENS, st.sampled_from([0.5, 1.0, 2.0])), min_size=1, max_size=6)


def path_to(trie: object, node: int) -> list[int]:
    """The tokens that a node attends to, itself included."""
    return trie.ids[sees(torch.from_numpy(trie.end))[node].numpy()].tolist()  # type: ignore[attr-defined]


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


@given(SAMPLES, SAMPLES, st.integers(12, 60))
def test_joined_tries_are_the_trie_of_all_their_samples(ours: list[Sample], theirs: list[Sample], limit: int) -> None:
    first, second, both = pack(ours), pack(theirs), pack([*ours, *theirs])
    found, saved = joined([first, second], limit), len(first) + len(second) - len(both)
    expected = [both] if len(both) <= limit and saved >= LEAST_SAVED * (len(first) + len(second)) else [first, second]
    for made, wanted in zip(found, expected, strict=True):
        for name, value in vars(wanted).items():
            np.testing.assert_array_equal(getattr(made, name), value, err_msg=name)


def test_a_sample_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="more than the limit"):
        pack_groups([[Sample([1] * 10, [2])]], 5)


@given(SAMPLES, st.sampled_from([1, 3, 100]))
def test_blocks_hide_what_the_matrix_hides(samples: list[Sample], times: int) -> None:
    """Each token taken so many times in a row, so that there are several blocks."""
    end = torch.from_numpy(pack(samples).end).repeat_interleave(times) * times
    found, seen, places = blocks(end), torch.zeros(len(end), len(end), dtype=torch.bool), torch.arange(len(end))
    for numbers, columns, whole in (
        (found.kv_num_blocks, found.kv_indices, False),
        (found.full_kv_num_blocks, found.full_kv_indices, True),
    ):
        assert numbers is not None
        assert columns is not None
        for row, count in enumerate(numbers[0, 0].tolist()):
            for column in columns[0, 0, row, :count].tolist():
                here, there = (places[BLOCK * each : BLOCK * (each + 1)] for each in (row, column))
                tile = found.mask_mod(torch.tensor(0), torch.tensor(0), here[:, None], there[None, :])
                assert tile.any()
                assert not whole or tile.all()
                seen[here[0] : here[-1] + 1, there[0] : there[-1] + 1] = tile
    assert torch.equal(seen, matrix(end, torch.float32)[0, 0] == 0)


def test_an_empty_state_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        pack([Sample([], [1])])


def separate_loss(model: PreTrainedModel, samples: list[Sample]) -> torch.Tensor:
    """The plain way: one forward pass a sample, causal attention, nothing shared."""
    total = torch.zeros((), device=model.device)
    for sample in samples:
        ids = torch.tensor(sample.state + sample.label, device=model.device)
        predicted = model(ids[None]).logits[0, len(sample.state) - 1 : -1]
        total = total + sample.weight * cross_entropy(predicted, ids[len(sample.state) :], reduction="sum")
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
    inputs = as_inputs(pack(samples), model.device)
    for loss in (lambda: separate_loss(model, samples), lambda: trie_loss(model, inputs)):
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

    return load_model(str(tiny_directory), ATTENTION)


def test_a_model_with_dropout_keeps_it(tiny_model: PreTrainedModel) -> None:
    """The kernel for packed tries knows no dropout, so it is not used there."""
    inputs = as_inputs(pack(trajectory(3, 1000, 0)), tiny_model.device)
    tiny_model.config.attention_dropout = 0.5
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
    loss = lambda: sum(trie_loss(tiny_model, as_inputs(trie, tiny_model.device)).item() for trie in tries)  # noqa: E731
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


@pytest.mark.parametrize(
    ("tries", "fraction", "rates"),
    [(1, 0.05, [1.0]), (4, 0.5, [1 / 3, 2 / 3, 1.0, 1.0]), (3, 0.0, [1.0, 1.0, 1.0])],
)
def test_every_step_learns_and_the_first_ones_less(
    tiny_model: PreTrainedModel, tmp_path: Path, tries: int, fraction: float, rates: list[float]
) -> None:
    seen = list[float]()
    whole = torch.optim.AdamW.step

    def watched(optimizer: torch.optim.AdamW, *rest: object, **more: object) -> object:
        seen.append(optimizer.param_groups[0]["lr"])
        return whole(optimizer, *rest, **more)  # type: ignore[arg-type]

    settings = TrainingSettings(learning_rate=1e-2, warmup_fraction=fraction, schedule="constant_with_warmup")
    before = tiny_model.lm_head.weight.clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watched)
        packed = [pack(trajectory(2, 1000, seed)) for seed in range(tries)]
        train(tiny_model, packed, settings, separate_tokens=1, work_dir=tmp_path, seed=0)
    assert seen == pytest.approx([1e-2 * rate for rate in rates])
    assert not torch.equal(tiny_model.lm_head.weight, before)


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
    inputs = as_inputs(tries[0], tiny_model.device)
    assert torch.equal(trie_loss(tiny_model, inputs), trie_loss(twin, inputs))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention has no backward pass on a CPU")
def test_on_a_gpu_blocks_and_the_matrix_give_the_same_loss_and_gradients() -> None:
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=1000, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4
    )
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(shape, attn_implementation=ATTENTION)
    inputs, found = as_inputs(pack(trajectory(40, 1000, 0)), "cuda"), []
    assert len(inputs["end"]) > 3 * BLOCK
    for hidden in (matrix(inputs["end"], torch.float32), blocks(inputs["end"])):
        model.zero_grad()
        loss = trie_loss(model, inputs, hidden=hidden)
        loss.backward()
        gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
        found.append((loss.item(), torch.cat(gradients)))
    (by_matrix, expected), (by_blocks, gradient) = found
    assert by_blocks == pytest.approx(by_matrix, rel=1e-5)
    assert (gradient - expected).norm() <= 1e-4 * expected.norm()


def test_a_steps_trajectories_go_through_the_model_together(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    """What they begin with alike goes through once; what is learned is what each alone would have taught."""
    prompt = [7] * 200
    tries = [
        pack([Sample(prompt + sample.state, sample.label) for sample in trajectory(2, 1000, seed)]) for seed in range(4)
    ]
    twin, found = copy.deepcopy(tiny_model), []
    for model, most in ((tiny_model, 1024), (twin, 256)):
        some = TrainingSettings(learning_rate=1e-3, epochs=2, batch_trajectories=4, max_tokens=most)
        result = train(model, tries, some, separate_tokens=1, work_dir=tmp_path, seed=0)
        found.append((result.loss, result.steps, result.packed_tokens))
    (loss, steps, nodes), (apart, as_many, all_nodes) = found
    assert (steps, all_nodes) == (as_many, sum(len(trie) for trie in tries))
    assert nodes == all_nodes - 3 * len(prompt)
    assert loss == pytest.approx(apart, rel=1e-4)
    for name, weight in tiny_model.named_parameters():
        torch.testing.assert_close(weight, twin.get_parameter(name), rtol=1e-3, atol=1e-5)


def test_training_without_labels_is_refused(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no labels"):
        train(tiny_model, [], TrainingSettings(), separate_tokens=0, work_dir=tmp_path, seed=0)


def test_training_that_diverges_is_no_training(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    """The Trainer would show a loss of 0, and weights that are no numbers would be saved."""
    tries, settings = [pack(trajectory(3, 100, seed)) for seed in range(4)], TrainingSettings(learning_rate=1e10)
    with pytest.raises(UserError, match=r"diverged \(loss .*\): start another run with less than .* 1e\+10"):
        train(tiny_model, tries, settings, separate_tokens=0, work_dir=tmp_path, seed=0)


def test_more_top_layers_than_there_are_is_refused(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    settings = TrainingSettings(parameters="top_layers", top_layers=3)
    with pytest.raises(UserError, match="has 2 layers"):
        train(tiny_model, [pack(trajectory(1, 100, 0))], settings, separate_tokens=0, work_dir=tmp_path, seed=0)
