"""Covariate shift, measured: how far the student is from the teacher in the states that it reaches by itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from rollin.models import load_model, load_tokenizer
from rollin.policies.ragged import ATTENTION
from rollin.store import Purpose, Store
from rollin.training.objectives import ReverseKL
from rollin.training.samples import executed
from rollin.training.trainer import as_inputs, trie_loss
from rollin.training.trie import Sample, pack_groups

DRAWS = 10_000
MAX_TOKENS = 4096
EXACT = ReverseKL(estimate="exact")


@dataclass(frozen=True)
class Drift:
    """Reverse KL(student || teacher), the mean over the tokens of a student's own trajectories, in nats."""

    iteration: int
    value: float
    low: float
    """The ends of the 95% bootstrap interval over trajectories."""
    high: float
    trajectories: int
    tokens: int


def drifts(
    store: Store, source_of: Callable[[int], str], teacher: PreTrainedModel, most: int | None = None
) -> Iterator[Drift]:
    """One for each evaluation of the student: `source_of(iteration)` names its weights, `most` bounds trajectories.

    The sum is over the whole vocabulary at each token that the student said, in the states that it reached alone.
    """
    for measured in store.evaluations():
        source = source_of(measured.iteration)
        model, tokenizer = load_model(source, ATTENTION), load_tokenizer(source)
        rows = store.trajectories(iteration=measured.iteration, purpose=Purpose.EVAL)[:most]
        groups = [[executed(store, turn, tokenizer) for turn in store.turns(row.id)] for row in rows]
        yield drift(measured.iteration, model, teacher, [group for group in groups if group])


def drift(
    iteration: int, student: torch.nn.Module, teacher: torch.nn.Module, groups: Sequence[Sequence[Sample]]
) -> Drift:
    """Of these trajectories."""
    sums, counts = np.array([_of_trajectory(student, teacher, group) for group in groups]).T
    drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), DRAWS)
    low, high = np.quantile((drawn @ sums) / (drawn @ counts), (0.025, 0.975))
    return Drift(iteration, sums.sum() / counts.sum(), float(low), float(high), len(sums), int(counts.sum()))


def _of_trajectory(student: torch.nn.Module, teacher: torch.nn.Module, group: Sequence[Sample]) -> tuple[float, int]:
    """(summed KL, tokens)."""
    fitting = [sample for sample in group if sample.tokens <= MAX_TOKENS]
    with torch.no_grad():
        total = sum(
            float(trie_loss(student, as_inputs(trie), EXACT, teacher)) for trie in pack_groups([fitting], MAX_TOKENS)
        )
    return total, sum(len(sample.label) for sample in fitting)


def checkpoint_of(directory: Path, untrained: str) -> Callable[[int], str]:
    """Where a run's weights of an iteration lie."""
    return lambda iteration: str(directory / "checkpoints" / f"iteration-{iteration}") if iteration else untrained
