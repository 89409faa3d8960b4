"""Trie-packed training against separate samples, on a run's real trajectories: python benchmarks/trie.py [RUN]

Both sides compute loss and gradients of the same labelled turns with the same model, one after the other, trajectory
by trajectory. Without a run, the expert's trajectories on 6 kata tasks are collected first.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from rollin import runs
from rollin.method import METHODS
from rollin.models import PACKAGED, load_model, load_tokenizer
from rollin.policies.ragged import ATTENTION
from rollin.progress import ConsoleReporter
from rollin.recipe import load_recipe
from rollin.store import Store
from rollin.training.samples import training_samples
from rollin.training.trainer import TrainingSettings, as_inputs, select_parameters, trie_loss
from rollin.training.trie import Sample, pack

TRAJECTORIES = 8
BAR = 5.0


def collect(console: Console) -> Path:
    """A run of one iteration without training worth the name, only for its trajectories."""
    directory = Path(tempfile.mkdtemp()) / "run"
    changes = ["iterations=1", "tasks_per_iteration=8", "evaluation.base=false", "training.epochs=0.1"]
    recipe = load_recipe(Path(__file__).parent.parent / "recipes" / "quickstart.yaml", changes)
    runs.start(recipe, directory, ConsoleReporter(console))
    return directory


def seconds(model: torch.nn.Module, tries: list[list[Sample]]) -> tuple[float, float]:
    """(time, loss) of forward and backward over these packs."""
    model.zero_grad()
    total, start = 0.0, time.perf_counter()
    for samples in tries:
        loss = trie_loss(model, as_inputs(pack(samples)))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return time.perf_counter() - start, total


def main() -> None:
    console = Console()
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else collect(console)
    with Store.read(directory / "run.db") as store:
        iterations = [row.number for row in store.iterations() if row.number]
        groups = training_samples(store, iterations, load_tokenizer(PACKAGED), METHODS["dagger"])
    groups = groups[:: max(1, len(groups) // TRAJECTORIES)][:TRAJECTORIES]
    model = load_model(PACKAGED, ATTENTION)
    select_parameters(model, TrainingSettings(parameters="full"))
    seconds(model, [groups[0][:1]])  # the first pass pays for the allocator
    heads = ("trajectory", "turns", "tokens apart", "tokens packed", "apart, s", "packed, s", "ratio", "tokens' ratio")
    print(*(f"{head:>13}" for head in heads), flush=True)
    apart_total = packed_total = 0.0
    apart_tokens = packed_tokens = 0
    for number, group in enumerate(groups):
        apart, loss_apart = seconds(model, [[sample] for sample in group])
        packed, loss_packed = seconds(model, [group])
        assert abs(loss_apart - loss_packed) <= 1e-4 * abs(loss_apart), (loss_apart, loss_packed)
        tokens, nodes = sum(sample.tokens for sample in group), len(pack(group))
        ratios = (f"{figure:.2f}" for figure in (apart, packed, apart / packed, tokens / nodes))
        print(*(f"{cell:>13}" for cell in (number, len(group), tokens, nodes, *ratios)), flush=True)
        apart_total, packed_total = apart_total + apart, packed_total + packed
        apart_tokens, packed_tokens = apart_tokens + tokens, packed_tokens + nodes
    ratio, allowed = apart_total / packed_total, apart_tokens / packed_tokens
    print(
        f"all: {ratio:.2f} times the speed of separate samples; token counting allows {allowed:.2f}; "
        f"bar {min(BAR, allowed):.2f} (5, or what token counting allows); losses equal to 1e-4"
    )


if __name__ == "__main__":
    main()
