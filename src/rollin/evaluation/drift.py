"""Covariate shift, measured: how far the student is from the teacher in the states that it reaches by itself."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from rollin.errors import UserError
from rollin.evaluation.result import Drift
from rollin.models import check_tokens, load_model, load_tokenizer
from rollin.policies.ragged import ATTENTION
from rollin.store import STUDENT, Purpose, Store
from rollin.training.objectives import ReverseKL
from rollin.training.samples import executed
from rollin.training.trainer import as_inputs, trie_loss
from rollin.training.trie import Sample, pack_groups

DRAWS = 10_000
MAX_TOKENS = 4096
"""Tokens read at once, or as many as the longest state and action have."""
EXACT = ReverseKL(estimate="exact")


def drifts(store: Store, directory: Path, teacher: str, most: int | None = None) -> list[Drift]:
    """One for each evaluation of a run's student, on at most `most` of its trajectories, spread over the tasks.
    UserError where none was evaluated, or where the teacher has other tokens.

    The sum is over the whole vocabulary at each token that the student said, in the states that it reached alone.
    """
    measured = [each for each in store.evaluations() if each.policy == STUDENT]
    if not measured:
        raise UserError(f"{directory} has no evaluation of its student yet; resume it first")
    white_box, found = load_model(teacher, ATTENTION), []
    for each in measured:
        source = str(directory / "checkpoints" / each.checkpoint) if each.iteration else each.checkpoint
        check_tokens(teacher, source)
        model, tokenizer = load_model(source, ATTENTION), load_tokenizer(source)
        rows = store.trajectories(iteration=each.iteration, purpose=Purpose.EVAL)
        rows = sorted(rows, key=lambda row: row.instance_id)[:: math.ceil(len(rows) / most) if most else 1]
        groups = [[executed(store, turn, tokenizer) for turn in store.turns(row.id)] for row in rows]
        found.append(drift(each.iteration, model, white_box, [group for group in groups if group]))
    return found


def drift(
    iteration: int, student: PreTrainedModel, teacher: PreTrainedModel, groups: Sequence[Sequence[Sample]]
) -> Drift:
    """Of these trajectories. UserError where there is none."""
    if not groups:
        raise UserError(
            f"no trajectory of iteration {iteration}'s evaluation has a turn; measure drift where the student has acted"
        )
    sums, counts = np.array([_of_trajectory(student, teacher, group) for group in groups]).T
    drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), DRAWS)
    low, high = np.quantile((drawn @ sums) / (drawn @ counts), (0.025, 0.975))
    return Drift(iteration, sums.sum() / counts.sum(), float(low), float(high), len(sums), int(counts.sum()))


def _of_trajectory(student: PreTrainedModel, teacher: PreTrainedModel, group: Sequence[Sample]) -> tuple[float, int]:
    """(summed KL, tokens)."""
    room = max(MAX_TOKENS, *(sample.tokens for sample in group))
    batches = [as_inputs(trie, student.device) for trie in pack_groups([group], room)]
    with torch.no_grad():
        total = sum(float(trie_loss(student, inputs, EXACT, teacher)) for inputs in batches)
    return total, sum(len(sample.label) for sample in group)
