"""Reverse KL on a student's own trajectories."""

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import log_softmax
from transformers import AutoTokenizer, PreTrainedModel

from rollin.errors import UserError
from rollin.evaluation.drift import drift
from rollin.models import check_tokens, load_model
from rollin.policies.ragged import ATTENTION
from rollin.training.trie import Sample


@pytest.fixture
def teacher(tiny_directory: Path) -> PreTrainedModel:
    """The student, moved a little."""
    model = load_model(str(tiny_directory), ATTENTION)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=chance))
    return model


def trajectories() -> list[list[Sample]]:
    """Two, of two and of three turns."""
    chance = torch.Generator().manual_seed(1)
    groups = []
    for turns in (2, 3):
        state, group = torch.randint(3, 900, (8,), generator=chance).tolist(), []
        for _ in range(turns):
            group.append(Sample(state, torch.randint(3, 900, (4,), generator=chance).tolist()))
            state = state + group[-1].label + torch.randint(3, 900, (5,), generator=chance).tolist()
        groups.append(group)
    return groups


def test_it_is_the_mean_over_tokens_of_the_kl_over_the_vocabulary(
    tiny_model: PreTrainedModel, teacher: PreTrainedModel
) -> None:
    found = drift(2, tiny_model, teacher, trajectories())
    expected = []
    for sample in [sample for group in trajectories() for sample in group]:
        ids, first = torch.tensor([sample.state + sample.label]), len(sample.state) - 1
        with torch.no_grad():
            p, q = (log_softmax(model(ids).logits[0, first:-1], -1) for model in (tiny_model, teacher))
        expected += (p.exp() * (p - q)).sum(-1).tolist()
    assert found.value == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    assert (found.iteration, found.trajectories, found.tokens) == (2, 2, 20)
    assert found.low <= found.value <= found.high


def test_a_student_is_nowhere_from_itself(tiny_model: PreTrainedModel) -> None:
    assert drift(0, tiny_model, tiny_model, trajectories()).value == pytest.approx(0, abs=1e-6)


def test_without_a_turn_there_is_no_drift(tiny_model: PreTrainedModel) -> None:
    with pytest.raises(UserError, match="no trajectory of iteration 2's evaluation has a turn"):
        drift(2, tiny_model, tiny_model, [])


def test_other_tokens_are_refused(tiny_directory: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_directory, tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "other")
    tokenizer.add_tokens(["<one-more>"])
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="different tokenizers"):
        check_tokens(str(tmp_path / "other"), str(tiny_directory))
