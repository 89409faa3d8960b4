"""How long a student stays on the expert's path, what it does off it, and whether it comes back: on_the_path.py RUN ...

The path is the expert's own play: a trajectory leaves it with the first action that is not the expert's, who can be
asked at any state, of a held-out task too. For runs on katas, packages, or the game of recipes/compare-game.yaml.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from guess_the_number import halve

from rollin.chat import action_ids
from rollin.models import PACKAGED, load_tokenizer
from rollin.policies.base import Request
from rollin.policies.expert import Expert
from rollin.store import Purpose, Store, TrajectoryRow, TurnRow, database_of

Ask = Callable[[Store, TrajectoryRow, TurnRow], str | None]
"""What the expert does at a turn's state; None where it knows nothing."""


@dataclass(frozen=True)
class Course:
    """A trajectory, beside the expert."""

    agreed: list[bool]
    """For each turn whether its action is the expert's."""
    resolved: bool

    @property
    def leaves(self) -> int:
        """The turn that leaves the path; one more than there are where none does."""
        return self.agreed.index(False) if False in self.agreed else len(self.agreed)

    @property
    def on(self) -> list[bool]:
        """Of the turns up to that one."""
        return self.agreed[: self.leaves + 1]

    @property
    def off(self) -> list[bool]:
        """Of the turns after that one."""
        return self.agreed[self.leaves + 1 :]


def repairer() -> Ask:
    """The scripted expert."""
    tokenizer = load_tokenizer(PACKAGED)
    expert = Expert(lambda content, calls: len(action_ids(tokenizer, content, calls)))

    def ask(store: Store, row: TrajectoryRow, turn: TurnRow) -> str:
        task = store.task(row.instance_id)
        request = Request(store.state_messages(turn.state_id), str(row.id), turn.turn, seed=0, task=task)
        return asyncio.run(expert.act(request)).text

    return ask


def player() -> Ask:
    """The game's."""
    return lambda store, row, turn: halve(store.state_messages(turn.state_id), None)


def course(store: Store, row: TrajectoryRow, ask: Ask) -> Course:
    """`row`'s, beside the expert."""
    said = [(turn.action.text.strip(), (ask(store, row, turn) or "").strip()) for turn in store.turns(row.id)]
    return Course([action == expert for action, expert in said], bool(row.resolved))


def share(found: list[bool]) -> str:
    """How many of them, and in per cent."""
    return f"{sum(found)}/{len(found)}" + (f" ({sum(found) / len(found):.0%})" if found else "")


def report(directory: Path) -> None:
    """One run's."""
    print(directory)
    with Store.read(database_of(directory)) as store:
        ask = repairer() if {task.source for task in store.tasks()} <= {"kata", "package"} else player()

        def courses(iteration: int, purpose: Purpose) -> list[Course]:
            rows = store.trajectories(iteration=iteration, purpose=purpose)
            return [course(store, row, ask) for row in rows if row.resolved is not None]

        iterations = [row.number for row in store.iterations()]
        for iteration in filter(None, iterations):
            found = courses(iteration, Purpose.COLLECT)
            states, off = sum(len(each.agreed) for each in found), sum(len(each.off) for each in found)
            print(f"iteration {iteration}: {states} states, {off} of them off the path")
        held_out = courses(max(iterations), Purpose.EVAL)
    on = [[agreed for agreed in now if agreed is not None] for now in zip_longest(*(each.on for each in held_out))]
    print(f"held out, as the expert: on the path {share([*chain(*on)])}; by turn {', '.join(map(share, on))}")
    print(f"  off the path {share([now for each in held_out for now in each.off])}")
    stayed = [each.resolved for each in held_out if all(each.agreed)]
    left = [each.resolved for each in held_out if not all(each.agreed)]
    print(f"  resolved: {share(stayed)} of those that stayed on the path, {share(left)} of those that left it")


def main() -> None:
    for each in sys.argv[1:]:
        report(Path(each))


if __name__ == "__main__":
    main()
