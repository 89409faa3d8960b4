"""Trie-packed training against separate samples, on a run's real trajectories: python benchmarks/trie.py [RUN]

Both sides compute loss and gradients of the same labelled turns with the same model, one after the other, trajectory
by trajectory. Without a run, the expert's trajectories on 8 kata tasks are collected first. Beside the ratio of times
stand two that bound it: of tokens, and of arithmetic operations, which knows that attention grows with the square of
what is packed and that a label's logits are computed on both sides.
"""

import sys
import tempfile
import time
from pathlib import Path

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


def collect(console: Console) -> Path:
    """A run of one iteration without training worth the name, only for its trajectories."""
    directory = Path(tempfile.mkdtemp()) / "run"
    changes = ["iterations=1", "tasks_per_iteration=8", "evaluation.base=false", "training.epochs=0.1"]
    recipe = load_recipe(Path(__file__).parent.parent / "recipes" / "quickstart.yaml", changes)
    runs.start(recipe, directory, ConsoleReporter(console))
    return directory


def seconds(model: PreTrainedModel, tries: list[list[Sample]]) -> tuple[float, float]:
    """(time, loss) of forward and backward over these packs, with memory handled as in training."""
    model.zero_grad()
    with freed_memory_kept():
        total, start = 0.0, time.perf_counter()
        for samples in tries:
            loss = trie_loss(model, as_inputs(pack(samples)))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return time.perf_counter() - start, total


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
    seconds(model, [groups[0][:1]])  # the first pass pays for the allocator
    heads = (
        "trajectory",
        "turns",
        "tokens apart",
        "tokens packed",
        "apart, s",
        "packed, s",
        "ratio",
        "of tokens",
        "of operations",
    )
    print(*(f"{head:>13}" for head in heads), flush=True)
    apart_total = packed_total = 0.0
    apart_tokens = packed_tokens = 0
    apart_work = packed_work = 0.0
    for number, group in enumerate(groups):
        apart, loss_apart = seconds(model, [[sample] for sample in group])
        packed, loss_packed = seconds(model, [group])
        assert abs(loss_apart - loss_packed) <= 1e-4 * abs(loss_apart), (loss_apart, loss_packed)
        tokens, nodes = sum(sample.tokens for sample in group), len(pack(group))
        work = sum(operations(model, sample.tokens, len(sample.label)) for sample in group)
        work_packed = operations(model, nodes, sum(len(sample.label) for sample in group))
        figures = (apart, packed, apart / packed, tokens / nodes, work / work_packed)
        ratios = (f"{figure:.2f}" for figure in figures)
        print(*(f"{cell:>13}" for cell in (number, len(group), tokens, nodes, *ratios)), flush=True)
        apart_total, packed_total = apart_total + apart, packed_total + packed
        apart_tokens, packed_tokens = apart_tokens + tokens, packed_tokens + nodes
        apart_work, packed_work = apart_work + work, packed_work + work_packed
    ratio, allowed = apart_total / packed_total, apart_tokens / packed_tokens
    print(
        f"all: {ratio:.2f} times the speed of separate samples; token counting allows {allowed:.2f}, the number of "
        f"operations {apart_work / packed_work:.2f}; "
        f"bar {min(BAR, allowed):.2f} (5, or what token counting allows); losses equal to 1e-4"
    )


if __name__ == "__main__":
    main()
