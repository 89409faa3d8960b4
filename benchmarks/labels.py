"""How often a teacher's labels are, letter for letter, what the scripted expert would say.

python benchmarks/labels.py RUN

By iteration, by who acted, and by family; of the turns that a run collected. A teacher that is right in its own states
may be lost in its student's.
"""

import asyncio
import sys
from collections import Counter
from pathlib import Path

from rollin.chat import action_ids
from rollin.models import PACKAGED, load_tokenizer
from rollin.policies.base import Request
from rollin.policies.expert import Expert
from rollin.store import Store


async def count(directory: Path) -> tuple[Counter[tuple[int, str, str]], Counter[tuple[int, str, str]]]:
    """(turns with a label, those whose label is the expert's)."""
    tokenizer = load_tokenizer(PACKAGED)
    expert = Expert(lambda content, calls: len(action_ids(tokenizer, content, calls)))
    turns, alike = Counter[tuple[int, str, str]](), Counter[tuple[int, str, str]]()
    with Store.read(directory / "run.db") as store:
        for iteration in (row.number for row in store.iterations()):
            for turn in store.collected_turns(iteration):
                if turn.label.text is None:
                    continue
                row = store.trajectory(turn.trajectory_id)
                task = store.task(row.instance_id)
                asked = Request(store.state_messages(turn.state_id), str(row.id), turn.turn, seed=0, task=task)
                group = iteration, turn.actor.value, task.family.value
                turns[group] += 1
                alike[group] += (await expert.act(asked)).text.strip() == turn.label.text.strip()
    return turns, alike


def main() -> None:
    turns, alike = asyncio.run(count(Path(sys.argv[1])))
    print(f"{'iteration':>9}  {'who acted':10}{'family':12}{'labels':>7}  as the expert's")
    for group in sorted(turns):
        iteration, actor, family = group
        share = f"{alike[group]} ({alike[group] / turns[group]:.0%})"
        print(f"{iteration:>9}  {actor:10}{family:12}{turns[group]:>7}  {share}")


if __name__ == "__main__":
    main()
