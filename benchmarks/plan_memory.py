"""The memory that `rollin plan` says training takes, against what it takes: python benchmarks/plan_memory.py

Each setting trains a model for two steps on random tokens laid out as labelled turns, the longest of them as long as
`training.max_tokens`; the estimate is that of recipes/quickstart.yaml with the same settings.

On a CPU the model is SmolLM2-135M, each time in a process of its own; measured is the largest resident memory that it
ever had (VmHWM of /proc/self/status). On a GPU, models of 135M and of 4B parameters with random weights; measured is
the most that torch's allocator ever gave out.
"""

import gc
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from rollin.learner import Learner
from rollin.planning.assumptions import assumed
from rollin.planning.describing import describe
from rollin.planning.findings import GIB
from rollin.planning.machine import Machine
from rollin.planning.memory import TRAINING, Memory
from rollin.planning.plan import Shapes
from rollin.recipe import Recipe, load_recipe
from rollin.training import trainer
from rollin.training.trie import Sample, pack_groups

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
TOP, FULL, LORA, LITTLE = (
    ["training.parameters=top_layers", "training.top_layers=12"],
    ["training.parameters=full"],
    ["training.parameters=lora"],
    ["training.gradient_checkpointing=true"],
)
SETTINGS = (("top_layers 12", TOP), ("full", FULL), ("lora", LORA), ("full, checkpointing", FULL + LITTLE))
LARGE = ["student.model=Qwen/Qwen3-4B-Instruct-2507"]
SETTINGS_GPU = (
    ("135M, top_layers 12", [*TOP, "training.max_tokens=16384"]),
    ("135M, full", [*FULL, "training.max_tokens=16384"]),
    ("4B, lora, checkpointing", [*LARGE, *LORA, *LITTLE, "training.max_tokens=32768"]),
    ("4B, full, checkpointing", [*LARGE, *FULL, *LITTLE, "training.max_tokens=8192"]),
)
ON_GPU = torch.cuda.is_available()
LENGTHS = (1.0, 0.8, 1.0, 0.9)
"""Of the tries, as shares of `training.max_tokens`: two of them make a step."""
LABEL = 64
BAR = 0.15


def turns(nodes: int, label_share: float) -> list[Sample]:
    """One trajectory that packs into so many nodes, of which a share is label tokens."""
    chance = random.Random(nodes)
    labels = round(nodes * label_share / LABEL)
    said = [chance.randrange(100, 40_000) for _ in range(nodes - labels * LABEL)]
    ends = [len(said) * (turn + 1) // labels for turn in range(labels)]
    return [Sample(said[:end], [chance.randrange(100, 40_000) for _ in range(LABEL)]) for end in ends]


def train(changes: list[str]) -> None:
    """Two steps, as a run does them; prints the peak in bytes."""
    recipe = load_recipe(RECIPE, changes)
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(recipe.student, Path(folder), recipe.concurrency)
        learner.learn(1, trajectories(recipe), recipe.training, recipe.objective, seed=0, progress=lambda *_: None)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    print(int(found[1]) * 1024)


def trajectories(recipe: Recipe) -> list[list[Sample]]:
    share = assumed(recipe, 0, []).label_share
    return [turns(int(recipe.training.max_tokens * length), share) for length in LENGTHS]


def estimated(recipe: Recipe) -> float:
    """Bytes."""
    shapes, machine = Shapes.of(recipe), Machine(0.0, gpus=int(ON_GPU))
    memory = Memory(recipe, shapes.student, shapes.teacher, machine, assumed(recipe, machine.gpus, []))
    return sum(figure.amount for figure in memory.figures() if figure.group == TRAINING)


def measured(changes: list[str]) -> float:
    """Bytes."""
    if ON_GPU:
        return measured_on_gpu(load_recipe(RECIPE, changes))
    outcome = subprocess.run([sys.executable, __file__, *changes], capture_output=True, text=True, check=True)
    return float(outcome.stdout.split()[-1])


def measured_on_gpu(recipe: Recipe) -> float:
    """Bytes."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with torch.device("cuda"):
        model = describe(recipe.student.model).skeleton()
    tries = pack_groups(trajectories(recipe), recipe.training.max_tokens)
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(
            model, tries, recipe.training, precision="auto", separate_tokens=0, work_dir=Path(folder), seed=0
        )  # fmt: skip
    return torch.cuda.max_memory_allocated()


def main() -> None:
    print(f"{'training':<26}{'estimated, GiB':>16}{'measured, GiB':>16}{'ratio':>8}", flush=True)
    ratios = []
    for name, changes in SETTINGS_GPU if ON_GPU else SETTINGS:
        said, found = estimated(load_recipe(RECIPE, changes)), measured(changes)
        ratios.append(said / found)
        print(f"{name:<26}{said / GIB:>16.2f}{found / GIB:>16.2f}{ratios[-1]:>8.2f}", flush=True)
    far = max(abs(ratio - 1) for ratio in ratios)
    print(f"furthest from 1: {far:.0%}; bar {BAR:.0%}")


if __name__ == "__main__":
    train(sys.argv[1:]) if len(sys.argv) > 1 else main()
