"""The memory that `rollin plan` says training takes, against what it takes: python benchmarks/plan_memory.py

Each setting trains a model on four trajectories of random tokens laid out as labelled turns, the longest of them as
long as `training.max_tokens`; the estimate is that of recipes/quickstart.yaml with the same settings.

On a CPU the model is SmolLM2-135M, each time in a process of its own; measured is the largest resident memory that it
ever had (VmHWM of /proc/self/status). On a GPU, the students of recipes/paper and smaller settings, with random
weights; measured is the most that torch's allocator ever gave out, and about how fast the steps after the first are,
which compiles, in operations as `rollin plan` counts them, for its `training_tflops`. Words that settings' names begin
with choose among them: python benchmarks/plan_memory.py --only paper
"""

import gc
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from rollin.learner import Learner
from rollin.planning.assumptions import assumed
from rollin.planning.describing import describe
from rollin.planning.findings import GIB
from rollin.planning.machine import Machine
from rollin.planning.memory import TRAINING, Memory
from rollin.planning.plan import Shapes
from rollin.planning.work import Work
from rollin.recipe import Recipe, load_recipe
from rollin.training import trainer
from rollin.training.trie import Sample, pack_groups

RECIPES = Path(__file__).parent.parent / "recipes"
SMALL = RECIPES / "quickstart.yaml"
TOP, FULL, LORA, LITTLE = (
    ["training.parameters=top_layers", "training.top_layers=12"],
    ["training.parameters=full"],
    ["training.parameters=lora"],
    ["training.gradient_checkpointing=true"],
)
SETTINGS = (("top_layers 12", TOP), ("full", FULL), ("lora", LORA), ("full, checkpointing", FULL + LITTLE))
LARGE = ["student.model=Qwen/Qwen3-4B-Instruct-2507", *LITTLE]
TWO = ["training.batch_trajectories=2"]
"""Tries of a step go through the model one after another: sixteen take the memory of two."""
SETTINGS_GPU = (
    ("paper's 4B", RECIPES / "paper" / "dagger-4b.yaml", TWO),
    ("paper's 8B, top 18 of 36", RECIPES / "paper" / "dagger-8b.yaml", TWO),
    ("4B, lora, checkpointing", SMALL, [*LARGE, *LORA, "training.max_tokens=32768"]),
    ("4B, full, checkpointing", SMALL, [*LARGE, *FULL, "training.max_tokens=8192"]),
    ("135M, top_layers 12", SMALL, [*TOP, "training.max_tokens=16384"]),
    ("135M, full", SMALL, [*FULL, "training.max_tokens=16384"]),
)
ON_GPU = torch.cuda.is_available()
LENGTHS = (1.0, 0.8, 1.0, 0.9)
"""Of the tries, as shares of `training.max_tokens`."""
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
    """As a run does it; prints the peak in bytes."""
    recipe = load_recipe(SMALL, changes)
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
    outcome = subprocess.run([sys.executable, __file__, *changes], capture_output=True, text=True, check=True)
    return float(outcome.stdout.split()[-1])


def measured_on_gpu(recipe: Recipe) -> tuple[float, float]:
    """Bytes, and the operations in a second of the steps after the first."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    described = describe(recipe.student.model)
    settings = recipe.training.model_copy(update={"epochs": 1})
    with torch.device("cuda"):
        model = described.skeleton()
    tries, moments = pack_groups(trajectories(recipe), settings.max_tokens), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(
            model, tries, settings, precision="auto", separate_tokens=0, work_dir=Path(folder), seed=0,
            progress=lambda *_: moments.append(time.monotonic()),
        )  # fmt: skip
    work = sum(operations(recipe, len(trie.ids)) for trie in tries) * (len(moments) - 1) / len(moments)
    return torch.cuda.max_memory_allocated(), work / (moments[-1] - moments[0])


def operations(recipe: Recipe, length: int) -> float:
    """Of one trajectory of so many tokens in a step, as `rollin plan` counts them."""
    student, machine, assumptions = Shapes.of(recipe).student, Machine(0.0, gpus=1), assumed(recipe, 1, [])
    trainable = Memory(recipe, student, None, machine, assumptions).trainable
    return length * Work(recipe, student.size, trainable, (), machine, assumptions).operations(length)


def main(only: str = "") -> None:
    print(f"{'training':<26}{'estimated, GiB':>16}{'measured, GiB':>16}{'ratio':>8}{'TFLOP/s' if ON_GPU else '':>10}")
    ratios = []
    for name, path, changes in SETTINGS_GPU if ON_GPU else [(name, SMALL, changes) for name, changes in SETTINGS]:
        if not name.startswith(only):
            continue
        recipe, speed = load_recipe(path, changes), ""
        said = estimated(recipe)
        if ON_GPU:
            found, pace = measured_on_gpu(recipe)
            speed = f"{pace / 1e12:.0f}"
        else:
            found = measured(changes)
        ratios.append(said / found)
        print(f"{name:<26}{said / GIB:>16.2f}{found / GIB:>16.2f}{ratios[-1]:>8.2f}{speed:>10}", flush=True)
    far = max(abs(ratio - 1) for ratio in ratios)
    print(f"furthest from 1: {far:.0%}; bar {BAR:.0%}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--only"]:
        main(" ".join(arguments[1:]))
    else:
        train(arguments) if arguments else main()
