"""Trie-packed training against separate samples, on a run's real trajectories: python benchmarks/trie.py [RUN]

All sides compute loss and gradients of the same labelled turns with the same model, one after the other, trajectory
by trajectory. Without a run, the expert's trajectories on 8 kata tasks are collected first.

packed    a trajectory's samples as one trie
plain     each sample by itself as transformers' Trainer has it: `model(ids, labels=...)`, logits at every token
lean      each sample by itself with rollin's own saving: logits where a label's token is predicted, nowhere else

Beside the ratios of times stand two that bound the lean one: of tokens, and of arithmetic operations, which knows that
attention grows with the square of what is packed and that a label's logits are computed on both sides.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from transformers import PreTrainedModel

from rollin import runs
from rollin.method import METHODS
from rollin.models import PACKAGED, load_model, load_tokenizer
from rollin.policies.ragged import ATTENTION
from rollin.progress import ConsoleReporter
from rollin.recipe import load_recipe
from rollin.store import Store
from rollin.training.samples import training_samples
from rollin.training.settings import TrainingSettings
from rollin.training.trainer import as_inputs, freed_memory_kept, select_parameters, trie_loss
from rollin.training.trie import Sample, pack

TRAJECTORIES = 8
BAR = 5.0
IGNORED = -100
"""A label that transformers leaves out of the loss."""


def collect(console: Console) -> Path:
    """A run of one iteration without training worth the name, only for its trajectories."""
    directory = Path(tempfile.mkdtemp()) / "run"
    changes = ["iterations=1", "tasks_per_iteration=8", "evaluation.base=false", "training.epochs=0.1"]
    recipe = load_recipe(Path(__file__).parent.parent / "recipes" / "quickstart.yaml", changes)
    runs.start(recipe, directory, ConsoleReporter(console))
    return directory


def seconds(model: PreTrainedModel, losses: Iterable[Callable[[], torch.Tensor]]) -> tuple[float, float]:
    """(time, sum) of these losses, forward and backward, with memory handled as in training."""
    model.zero_grad()
    with freed_memory_kept():
        total, start = 0.0, time.perf_counter()
        for compute in losses:
            loss = compute()
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return time.perf_counter() - start, total


def packed_loss(model: PreTrainedModel, samples: list[Sample]) -> torch.Tensor:
    return trie_loss(model, as_inputs(pack(samples), model.device))


def plain_loss(model: PreTrainedModel, sample: Sample) -> torch.Tensor:
    """The sum over the label's tokens."""
    ids = torch.tensor([sample.state + sample.label], device=model.device)
    labels = torch.tensor([[IGNORED] * len(sample.state) + sample.label], device=model.device)
    loss: torch.Tensor = model(input_ids=ids, labels=labels, use_cache=False, num_items_in_batch=1).loss
    return loss


def operations(model: PreTrainedModel, tokens: int, label_tokens: int) -> float:
    """Multiplications of a forward and a backward pass over so many tokens, each of which sees all before it."""
    embedding = next(model.get_input_embeddings().parameters()).numel()  # which the output shares
    weights = model.num_parameters() - embedding
    attention = int(model.config.num_hidden_layers * model.config.hidden_size) * tokens**2
    # Backward does all twice over, and the scores of attention once more.
    return 3.0 * weights * tokens + 3.5 * attention + 3.0 * embedding * label_tokens


def main() -> None:
    console = Console()
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else collect(console)
    with Store.read(directory / "run.db") as store:
        iterations = [row.number for row in store.iterations() if row.number]
        groups = training_samples(store, iterations, load_tokenizer(PACKAGED), METHODS["dagger"])
    groups = groups[:: max(1, len(groups) // TRAJECTORIES)][:TRAJECTORIES]
    model = load_model(PACKAGED, ATTENTION)
    select_parameters(model, TrainingSettings(parameters="full"))
    seconds(model, [partial(packed_loss, model, groups[0][:1])])  # the first pass pays for the allocator
    heads = ("trajectory", "turns", "tokens apart", "tokens packed", "plain, s", "lean, s", "packed, s")
    ratios = ("plain/packed", "lean/packed", "of tokens", "of operations")
    print(*(f"{head:>13}" for head in heads + ratios), flush=True)
    sums = [0.0] * 7
    for number, group in enumerate(groups):
        packed, loss = seconds(model, [partial(packed_loss, model, group)])
        plain, loss_plain = seconds(model, [partial(plain_loss, model, sample) for sample in group])
        lean, loss_lean = seconds(model, [partial(packed_loss, model, [sample]) for sample in group])
        for other in (loss_plain, loss_lean):
            assert abs(other - loss) <= 1e-4 * abs(loss), (other, loss)
        apart, together = sum(sample.tokens for sample in group), len(pack(group))
        work = sum(operations(model, sample.tokens, len(sample.label)) for sample in group)
        work_packed = operations(model, together, sum(len(sample.label) for sample in group))
        figures = [apart, together, plain, lean, packed, work, work_packed]
        counts = (f"{count:>13}" for count in (number, len(group), apart, together))
        print(*counts, *(f"{figure:>13.2f}" for figure in (plain, lean, packed, *_ratios(figures))), flush=True)
        sums = [total + figure for total, figure in zip(sums, figures, strict=True)]
    plain, lean, tokens, work = _ratios(sums)
    print(
        f"all: {plain:.2f} times the speed of plain separate samples, {lean:.2f} times that of lean ones; "
        f"token counting allows {tokens:.2f}, the number of operations {work:.2f} of the lean ones; "
        f"bar {min(BAR, tokens):.2f} (5, or what token counting allows); losses equal to 1e-4"
    )


def _ratios(figures: list[float]) -> tuple[float, float, float, float]:
    """Plain to packed, lean to packed, of tokens, of operations."""
    apart, together, plain, lean, packed, work, work_packed = figures
    return plain / packed, lean / packed, apart / together, work / work_packed


if __name__ == "__main__":
    main()
