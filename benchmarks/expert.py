"""How many tasks the scripted expert resolves: alone, and when it takes over from an untrained student.

python benchmarks/expert.py TASKS.jsonl ... [--limit N] [--student vandal|DIRECTORY|packaged] [--turns 3] [--seed 0]

The students: `vandal` draws from a list of garbage; a checkpoint directory, or `packaged` for the 135M model that
comes with rollin, acts by itself.
"""

import argparse
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from expert_room import Play, Vandal, play
from rich.console import Console

from rollin.evaluation.rate import Rate
from rollin.policies.base import Policy
from rollin.policies.expert import Expert
from rollin.progress import ConsoleReporter
from rollin.tasks.cache import cache_folder
from rollin.tasks.schema import Task, read_tasks


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=None, help="tasks of each file")
    parser.add_argument("--student", default=None)
    parser.add_argument("--turns", type=int, default=3, help="how many turns the student has")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print the trajectories that failed")
    return parser.parse_args()


def student(name: str | None, seed: int) -> Policy | None:
    """The policy that acts first, if any."""
    if name is None:
        return None
    if name == "vandal":
        return Vandal(seed)
    from rollin.models import PACKAGED, load_model, load_tokenizer
    from rollin.policies.local import LocalPolicy
    from rollin.policies.ragged import ATTENTION

    source = PACKAGED if name == "packaged" else name
    return LocalPolicy(load_model(source, ATTENTION), load_tokenizer(source))


def tokens_in(text: str) -> int:
    """By the packaged student's tokenizer."""
    from rollin.models import PACKAGED, load_tokenizer

    if not hasattr(tokens_in, "tokenizer"):
        tokens_in.tokenizer = load_tokenizer(PACKAGED)  # type: ignore[attr-defined]
    return len(tokens_in.tokenizer(text)["input_ids"])  # type: ignore[attr-defined]


def main() -> None:
    options = arguments()
    first = student(options.student, options.seed)
    groups: dict[str, list[tuple[Task, Play]]] = defaultdict(list)
    tasks = [task for file in options.files for task in read_tasks(file)[: options.limit]]

    def one(task: Task) -> tuple[Task, Play]:
        turns = options.turns if first else 0
        return task, play(task, Expert(), cache_folder() / "repositories", first=first, first_turns=turns)

    phase = ConsoleReporter(Console(stderr=True)).phase("the expert", len(tasks))
    with ThreadPoolExecutor(2) as pool, phase as bar:
        for task, outcome in pool.map(one, tasks):
            bar.advance()
            groups[f"{task.source} {task.family.value} {task.split.value}"].append((task, outcome))
            if options.show and not outcome.resolved:
                print(f"\n##### {task.instance_id}\n{task.patch}")
                for message in outcome.messages[2:]:
                    print("   >" if message["role"] == "assistant" else "", message["content"][-600:])
    print(f"\n{'tasks':32} {'resolved':54} {'turns':>6} {'tokens':>7} {'in actions':>10}")
    for name, outcomes in sorted(groups.items()):
        rate = Rate(sum(play.resolved for _, play in outcomes), len(outcomes))
        plays = [play for _, play in outcomes]
        total = mean(sum(tokens_in(message["content"]) for message in play.messages) for play in plays)
        acted = [sum(tokens_in(m["content"]) for m in play.messages if m["role"] == "assistant") for play in plays]
        print(f"{name:32} {rate!s:54} {mean(play.turns for play in plays):6.1f} {total:7.0f} {mean(acted):10.0f}")
    for task, outcome in (pair for outcomes in groups.values() for pair in outcomes):
        if not outcome.resolved:
            print(f"not resolved: {task.instance_id} ({', '.join(task.fault_kinds)}; {outcome.turns} turns)")


if __name__ == "__main__":
    main()
