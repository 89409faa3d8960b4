"""Paired differences and their intervals."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollin.evaluation.paired import Difference, Outcomes, difference

CELLS = st.dictionaries(
    st.tuples(st.integers(0, 2), st.sampled_from("abcdefgh")), st.tuples(st.booleans(), st.booleans()), min_size=1
)


def experiment(first: float, second: float, luck: float, chance: random.Random) -> tuple[Outcomes, Outcomes]:
    """Two students with these chances on 40 tasks with 3 seeds; a task is as hard for both, a seed lucky for one."""
    hard, lucky = ({n: chance.uniform(-by, by) for n in range(many)} for by, many in ((0.3, 40), (luck, 3)))
    pairs = [(seed, task) for seed in range(3) for task in range(40)]
    return (
        {(s, str(t)): chance.random() < first + hard[t] + lucky[s] for s, t in pairs},
        {(s, str(t)): chance.random() < second + hard[t] for s, t in pairs},
    )


@settings(max_examples=50)
@given(CELLS)
def test_it_is_the_mean_of_pairs_within_its_interval_and_turns_round(
    cells: dict[tuple[int, str], tuple[bool, bool]],
) -> None:
    first, second = ({pair: both[side] for pair, both in cells.items()} for side in (0, 1))
    found, turned = difference(first, second), difference(second, first)
    assert found.value == pytest.approx(np.mean([float(a) - float(b) for a, b in cells.values()]))
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert turned.value == pytest.approx(-found.value)
    assert (found.tasks, found.seeds) == (len({t for _, t in cells}), len({s for s, _ in cells}))


def test_what_only_one_of_them_has_counts_for_neither() -> None:
    both = {(0, "a"): True, (0, "b"): False}
    assert difference(both | {(0, "c"): True}, both | {(1, "a"): True}) == difference(both, both)
    assert difference(both, both) == Difference(0.0, 0.0, 0.0, 2, 1)
    with pytest.raises(ValueError, match="in common"):
        difference({(0, "a"): True}, {(0, "b"): True})


@pytest.mark.parametrize(("luck", "least", "sure"), [(0.0, 0.92, 0.6), (0.15, 0.8, 0.0)])
def test_the_interval_holds_the_truth_as_often_as_it_says(luck: float, least: float, sure: float) -> None:
    """Of 200 experiments. Three lucky or unlucky seeds say little of all seeds: then the interval is too narrow."""
    chance = random.Random(0)
    found = [difference(*experiment(0.65, 0.5, luck, chance)) for _ in range(200)]
    assert sum(each.low <= 0.15 <= each.high for each in found) >= least * len(found)
    assert sum(each.low > 0 for each in found) >= sure * len(found)


def test_it_reads_as_people_write_it() -> None:
    assert str(Difference(0.1, -0.02, 0.22, 40, 3)) == "+10.0 (-2.0 to +22.0)"
