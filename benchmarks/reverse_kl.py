"""How much noise the sampled estimate of reverse KL has, beside the exact one: reverse_kl.py RUN [trajectories]

For a run of on-policy distillation whose teacher is local: gradients of both, for the student that it began with, at
its first iteration's trajectories. If one half of these says which way to go, the other half's gradient points there,
too: the cosine of the two is near 1. It is near 0 where noise decides.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.functional import cosine_similarity
from transformers import PreTrainedModel

from rollin.models import load_model, load_tokenizer
from rollin.policies.ragged import ATTENTION
from rollin.recipe import LocalTeacher, parse_recipe
from rollin.store import Store, database_of
from rollin.training.objectives import ReverseKL
from rollin.training.samples import training_samples
from rollin.training.trainer import as_inputs, freed_memory_kept, select_parameters, trie_loss
from rollin.training.trie import Trie, pack_groups

ESTIMATES = ReverseKL(estimate="sampled"), ReverseKL(estimate="exact")


def gradient(student: PreTrainedModel, teacher: PreTrainedModel, trie: Trie, objective: ReverseKL) -> torch.Tensor:
    """Of the objective's sum over a trie's label tokens, for all weights that move."""
    student.zero_grad()
    trie_loss(student, as_inputs(trie), objective, teacher, torch.bfloat16).backward()  # type: ignore[no-untyped-call]
    return torch.cat([weight.grad.flatten() for weight in student.parameters() if weight.grad is not None])


def alike(one: torch.Tensor, other: torch.Tensor) -> float:
    """Their cosine."""
    return cosine_similarity(one, other, dim=0).item()


def halves(gradients: Sequence[torch.Tensor]) -> float:
    """The cosine of the sum of every other one with that of the rest."""
    return alike(torch.stack([*gradients[::2]]).sum(0), torch.stack([*gradients[1::2]]).sum(0))


def main() -> None:
    directory, most = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 12
    with Store.read(database_of(directory)) as store:
        recipe = parse_recipe(store.recipe(), str(directory))
        assert isinstance(recipe.teacher, LocalTeacher), "its teacher is not local"
        groups = training_samples(store, [1], load_tokenizer(recipe.student.model), recipe.method)[:most]
    student, teacher = (load_model(each.model, ATTENTION) for each in (recipe.student, recipe.teacher))
    select_parameters(student, recipe.training)
    tries = pack_groups(groups, recipe.training.max_tokens)
    with freed_memory_kept():
        sampled, exact = ([gradient(student, teacher, trie, each) for trie in tries] for each in ESTIMATES)
    print(f"{len(groups)} trajectories, {sum(trie.labels for trie in tries)} actions")
    for name, found in (("sampled", sampled), ("exact", exact)):
        norms = torch.stack([each.norm() for each in found])
        print(f"{name:8} half against half {halves(found):.2f}; norms {norms.min():.0f} to {norms.max():.0f}")
    print(
        f"all of the one against all of the other {alike(torch.stack(sampled).sum(0), torch.stack(exact).sum(0)):.2f}"
    )


if __name__ == "__main__":
    main()
