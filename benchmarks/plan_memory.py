"""The memory that `rollin plan` says training takes, against what it takes: python benchmarks/plan_memory.py

Each setting trains SmolLM2-135M for two steps in a process of its own, on random tokens laid out as labelled turns,
the longest of them as long as `training.max_tokens`; measured is the largest resident memory that the process ever had
(VmHWM of /proc/self/status). The estimate is that of recipes/quickstart.yaml with the same settings.
"""

import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rollin.learner import Learner
from rollin.planning.assumptions import assumed
from rollin.planning.findings import GIB
from rollin.planning.machine import Machine
from rollin.planning.memory import TRAINING, Memory
from rollin.planning.plan import Shapes
from rollin.recipe import Recipe, load_recipe
from rollin.training.trie import Sample

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
SETTINGS = (
    ("top_layers 12", ["training.parameters=top_layers", "training.top_layers=12"]),
    ("full", ["training.parameters=full"]),
    ("lora", ["training.parameters=lora"]),
    ("full, checkpointing", ["training.parameters=full", "training.gradient_checkpointing=true"]),
)
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
    share = assumed(recipe, 0, []).label_share
    groups = [turns(int(recipe.training.max_tokens * length), share) for length in LENGTHS]
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(recipe.student, Path(folder), recipe.concurrency)
        learner.learn(1, groups, recipe.training, recipe.objective, seed=0, progress=lambda *_: None)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    print(int(found[1]) * 1024)


def estimated(recipe: Recipe) -> float:
    """Bytes."""
    shapes = Shapes.of(recipe)
    memory = Memory(recipe, shapes.student, shapes.teacher, Machine(0.0), assumed(recipe, 0, []))
    return sum(figure.amount for figure in memory.figures() if figure.group == TRAINING)


def measured(changes: list[str]) -> float:
    """Bytes."""
    outcome = subprocess.run([sys.executable, __file__, *changes], capture_output=True, text=True, check=True)
    return float(outcome.stdout.split()[-1])


def main() -> None:
    print(f"{'training':<22}{'estimated, GiB':>16}{'measured, GiB':>16}{'ratio':>8}", flush=True)
    ratios = []
    for name, changes in SETTINGS:
        said, found = estimated(load_recipe(RECIPE, changes)), measured(changes)
        ratios.append(said / found)
        print(f"{name:<22}{said / GIB:>16.2f}{found / GIB:>16.2f}{ratios[-1]:>8.2f}", flush=True)
    far = max(abs(ratio - 1) for ratio in ratios)
    print(f"furthest from 1: {far:.0%}; bar {BAR:.0%}")


if __name__ == "__main__":
    train(sys.argv[1:]) if len(sys.argv) > 1 else main()
