"""How long a student of the game stays on the expert's path, and where its labels lie: on_the_path.py RUN

The path is the expert's own play: a trajectory leaves it with the first action that is not the expert's. For runs of
recipes/compare-game.yaml, whose expert can be asked again at any state.
"""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from guess_the_number import halve

from rollin.store import Purpose, Store, database_of


def agreement(store: Store, trajectory: int) -> list[bool]:
    """For each turn whether its action is the expert's."""
    turns = store.turns(trajectory)
    return [turn.action.content.strip() == halve(store.state_messages(turn.state_id), None) for turn in turns]


def leaves(agreed: list[bool]) -> int:
    """The turn that leaves the path; one more than there are where none does."""
    return agreed.index(False) if False in agreed else len(agreed)


def main() -> None:
    with Store.read(database_of(Path(sys.argv[1]))) as store:
        iterations = [row.number for row in store.iterations()]
        for iteration in filter(None, iterations):
            turns = [
                agreement(store, row.id) for row in store.trajectories(iteration=iteration, purpose=Purpose.COLLECT)
            ]
            off = sum(max(0, len(agreed) - leaves(agreed) - 1) for agreed in turns)
            print(f"iteration {iteration}: {sum(map(len, turns))} labels, {off} of them off the path")
        rows = store.trajectories(iteration=max(iterations), purpose=Purpose.EVAL)
        turns = [agreement(store, row.id) for row in rows]
    reached = Counter(turn for agreed in turns for turn in range(min(leaves(agreed) + 1, len(agreed))))
    kept = Counter(turn for agreed in turns for turn in range(leaves(agreed)))
    off = [now for agreed in turns for now in agreed[leaves(agreed) + 1 :]]
    parts = (f"{kept[turn]}/{reached[turn]}" for turn in sorted(reached))
    print(f"held out, turns like the expert's: on the path, by turn, {', '.join(parts)}; off it {sum(off)}/{len(off)}")


if __name__ == "__main__":
    main()
