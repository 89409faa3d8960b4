"""How many of a teacher's labels a student says to the last token, once it has learnt from other trajectories.

python benchmarks/exact_labels.py RUN [LEARNT] [ASKED]: 60 and 32 trajectories, if left out

The packaged student learns from trajectories of RUN's first iteration, as the quickstart has it, and is asked for the
labels of others, whose modules it has not seen. A resolve rate of 40 tasks is too coarse to choose one wording of the
teacher's before another by; this is not, and takes minutes. What a label begins with says which kind it is of.
"""

import random
import re
import sys
import tempfile
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rollin.method import METHODS
from rollin.models import PACKAGED, load_model, load_tokenizer
from rollin.policies.ragged import ATTENTION
from rollin.recipe import load_recipe
from rollin.store import Purpose, Store
from rollin.tasks.schema import Family
from rollin.training.masks import mask
from rollin.training.samples import training_samples
from rollin.training.trainer import as_inputs, logits, train
from rollin.training.trie import Sample, pack, pack_groups

Trajectory = tuple[Family, list[Sample]]
RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
FEW = 3
"""Kinds of fewer labels are told together."""


def collected(directory: Path, tokenizer: PreTrainedTokenizerBase) -> tuple[list[Trajectory], list[Trajectory]]:
    """(those to learn from, those to be asked for), a quarter of the modules for the latter."""
    sides: tuple[list[Trajectory], list[Trajectory]] = ([], [])
    with Store.read(directory / "run.db") as store:
        tasks = {task.instance_id: task for task in store.tasks()}
        rows = sorted(store.trajectories(iteration=1, purpose=Purpose.COLLECT), key=lambda row: row.instance_id)
        groups = training_samples(store, [1], tokenizer, METHODS["dagger"])
        for row, group in zip(rows, groups, strict=True):
            task = tasks[row.instance_id]
            sides[zlib.crc32(task.module.encode()) % 4 == 0].append((task.family, group))
    return sides


def drawn(trajectories: list[Trajectory], count: int) -> list[list[Sample]]:
    """So many, two thirds of them with visible faults."""
    mixed = random.Random(0).sample(trajectories, len(trajectories))
    visible = [group for family, group in mixed if family is Family.VISIBLE][: round(count * 2 / 3)]
    others = [group for family, group in mixed if family is not Family.VISIBLE][: count - len(visible)]
    return [*visible, *others]


def taught(groups: list[list[Sample]]) -> PreTrainedModel:
    """The packaged student after the quickstart's training on these trajectories."""
    model, settings = load_model(PACKAGED, ATTENTION), load_recipe(RECIPE).training
    with tempfile.TemporaryDirectory() as folder:
        tries = pack_groups(groups, settings.max_tokens)
        train(model, tries, settings, precision="auto", separate_tokens=0, work_dir=Path(folder), seed=1)
    return model


def said(model: PreTrainedModel, group: list[Sample]) -> tuple[list[bool], float, int]:
    """(for each label whether every token is the likeliest one, the earlier ones being said; nats; tokens)."""
    # A label's number goes as its weight: so each of the packed targets tells which label it is of.
    trie = pack([replace(sample, weight=number) for number, sample in enumerate(group)])
    inputs = as_inputs(trie, model.device)
    scores = logits(model, inputs, mask(inputs["end"], torch.float32, model.config), torch.float32)
    right = scores.argmax(-1) == inputs["labels"]
    nats = cross_entropy(scores, inputs["labels"], reduction="sum").item()
    return [bool(right[inputs["weight"] == number].all()) for number in range(len(group))], nats, len(right)


def kind(text: str) -> str:
    """Its first three words, whatever the numbers are."""
    return " ".join(re.sub(r"\d+", "N", text).split()[:3])


def main() -> None:
    tokenizer = load_tokenizer(PACKAGED)
    learnt, asked = collected(Path(sys.argv[1]), tokenizer)
    counts = [int(count) for count in sys.argv[2:4]]
    first, second = (counts + [60, 32][len(counts) :])[:2]
    groups, others = drawn(learnt, first), drawn(asked, second)
    model = taught(groups)
    labels, right, nats, tokens = Counter[str](), Counter[str](), 0.0, 0
    for group in others:
        with torch.inference_mode():
            exact, more_nats, more_tokens = said(model, group)
        nats, tokens = nats + more_nats, tokens + more_tokens
        for sample, is_exact in zip(group, exact, strict=True):
            name = kind(str(tokenizer.decode(sample.label)))
            labels[name] += 1
            right[name] += is_exact
    print(f"{len(groups)} trajectories learnt from, {len(others)} others asked for; {nats / tokens:.4f} nats a token")
    few = [name for name, count in labels.items() if count < FEW]
    for name, count in labels.most_common():
        if name not in few:
            print(f"{right[name]:>5} of {count:<5} {name} ...")
    print(f"{sum(right[name] for name in few):>5} of {sum(labels[name] for name in few):<5} others")
    print(f"{right.total():>5} of {labels.total():<5} labels said to the last token")


if __name__ == "__main__":
    main()
