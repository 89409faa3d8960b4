"""The roll-in: chance is counted, schedules follow their formulas."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rollin.errors import UserError
from rollin.mixture import (
    Actor,
    AnyRollIn,
    ByProgress,
    Constant,
    Draw,
    Exponential,
    Linear,
    Listed,
    PrefixSwitch,
    Student,
    Teacher,
    TurnMixture,
    training_seed,
    uniform,
)
from rollin.serving import mixture

draws = st.builds(
    Draw,
    seed=st.integers(),
    iteration=st.integers(1, 50),
    instance_id=st.text(max_size=30),
    attempt=st.integers(0, 20),
    turn=st.integers(0, 200),
)
betas = st.floats(0, 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_each_trainings_seed_is_its_own_and_one_that_numpy_takes(seed: int, iteration: int) -> None:
    assert 0 <= training_seed(seed, iteration) < 2**32
    assert training_seed(seed, iteration + 1) != training_seed(seed + 1, iteration)


def test_the_papers_schedule() -> None:
    beta = Linear(start=1.0, step=0.2, floor=0.6)
    assert [round(beta.at(i), 9) for i in range(1, 6)] == [1.0, 0.8, 0.6, 0.6, 0.6]


def test_the_other_schedules() -> None:
    assert [Exponential(start=0.8, decay=0.5).at(i) for i in (1, 2, 3)] == [0.8, 0.4, 0.2]
    assert [Listed(values=[1, 0.3]).at(i) for i in (1, 2, 9)] == [1, 0.3, 0.3]
    assert Constant(value=0.5).at(7) == 0.5
    assert [Linear(start=4, step=-2).at(i) for i in (1, 2, 3)] == [4, 6, 8]


@pytest.mark.parametrize("schedule", [Constant(value=1), Linear(), Exponential(), Listed(values=[1])])
def test_there_is_no_iteration_zero(schedule: Constant | Linear | Exponential | Listed) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        schedule.at(0)


@given(draws)
def test_a_draw_is_a_number_below_one_and_always_the_same(draw: Draw) -> None:
    assert 0 <= draw.uniform() < 1
    assert draw.uniform() == replace(draw).uniform()
    assert 0 <= draw.sampling_seed() < 2**63


def test_a_draw_is_the_same_on_every_machine_and_version() -> None:
    """Written down once: a change would make resumed runs choose otherwise."""
    assert uniform(0, 1, "kata-roman-1", 0, 0) == pytest.approx(0.17337201325822138, abs=1e-15)
    assert Draw(0, 1, "kata-roman-1", 0, 0).sampling_seed() == 6067395236013533381


@given(draws, betas, betas)
def test_a_larger_beta_never_hands_a_teachers_turn_to_the_student(draw: Draw, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if TurnMixture(beta=Constant(value=small)).actor(draw) is Actor.TEACHER:
        assert TurnMixture(beta=Constant(value=large)).actor(draw) is Actor.TEACHER


@given(draws)
def test_beta_one_is_the_teacher_and_beta_zero_the_student(draw: Draw) -> None:
    assert TurnMixture(beta=Constant(value=1)).actor(draw) is Teacher().actor(draw) is Actor.TEACHER
    assert TurnMixture(beta=Constant(value=0)).actor(draw) is Student().actor(draw) is Actor.STUDENT


@pytest.mark.parametrize("beta", [0.1, 0.6, 0.8])
def test_the_teacher_acts_with_probability_beta(beta: float) -> None:
    mixture = TurnMixture(beta=Constant(value=beta))
    n = 20_000
    teacher = sum(mixture.actor(Draw(7, 1 + k % 5, f"task-{k % 97}", k % 3, k)) is Actor.TEACHER for k in range(n))
    assert teacher / n == pytest.approx(beta, abs=4 * (beta * (1 - beta) / n) ** 0.5)


def test_turns_are_independent_of_each_other() -> None:
    """The share of teacher turns is the same after a teacher turn as after a student turn."""
    mixture = TurnMixture(beta=Constant(value=0.5))
    actors = [mixture.actor(Draw(3, 1, "t", 0, k)) for k in range(20_000)]
    pairs = Counter(pairwise(actors))
    assert all(count / len(actors) == pytest.approx(0.25, abs=0.015) for count in pairs.values())
    assert len(pairs) == 4


@given(draws, st.integers(0, 30))
def test_a_prefix_switch_goes_from_student_to_teacher_once(draw: Draw, t_max: int) -> None:
    rule = PrefixSwitch(t_max=Constant(value=t_max))
    kappa = rule.switch(draw)
    assert 0 <= kappa <= t_max
    actors = [rule.actor(replace(draw, turn=turn)) for turn in range(t_max + 2)]
    assert actors == [Actor.STUDENT] * kappa + [Actor.TEACHER] * (t_max + 2 - kappa)


def test_a_beta_by_progress_is_settled_by_the_resolve_rate() -> None:
    rule = TurnMixture(beta=ByProgress(floor=0.2))
    assert [rule.given(rate).beta for rate in (0.0, 0.5, 0.95)] == [Constant(value=value) for value in (1.0, 0.5, 0.2)]
    assert rule.given(0.3).given(0.9) == rule.given(0.3)
    with pytest.raises(ValueError, match="before the student was measured"):
        rule.actor(Draw(0, 1, "task", 0, 0))


def test_a_curriculum_switches_at_t_max_and_either_may_be_first() -> None:
    forward = PrefixSwitch(t_max=Linear(start=1, step=-2), kappa="t_max")
    backward = PrefixSwitch(t_max=Linear(start=4, step=2), kappa="t_max", first=Actor.TEACHER)
    second = [Draw(0, 2, "task", 0, turn) for turn in range(5)]
    assert [forward.actor(draw).value[0] for draw in second] == [*"sss", *"tt"]
    assert [backward.actor(draw).value[0] for draw in second] == [*"tt", *"sss"]


def test_kappa_is_uniform_on_zero_to_t_max() -> None:
    rule = PrefixSwitch(t_max=Constant(value=3))
    kappas = Counter(rule.switch(Draw(0, 1, f"task-{k}", 0, 0)) for k in range(8000))
    assert sorted(kappas) == [0, 1, 2, 3]
    assert all(count == pytest.approx(2000, abs=160) for count in kappas.values())


@pytest.mark.parametrize("schedule", [Exponential(start=2, decay=1e200), Linear(start=1e308, step=-1e308)])
def test_a_t_max_past_all_numbers_is_the_largest(schedule: Exponential | Linear) -> None:
    rule = PrefixSwitch(t_max=schedule, kappa="t_max")
    assert rule.switch(Draw(0, 5, "a", 0, 0)) == 2**53
    assert PrefixSwitch(t_max=schedule).actor(Draw(0, 5, "a", 0, 0)) is Actor.STUDENT
    assert Exponential(start=0, decay=1e200).at(5) == 0


def test_a_recipe_writes_a_roll_in_in_yaml() -> None:
    text = "kind: turn_mixture\nbeta: {kind: linear, start: 1.0, step: 0.2, floor: 0.6}"
    rule = TypeAdapter(AnyRollIn).validate_python(yaml.safe_load(text))
    assert rule == TurnMixture(beta=Linear(start=1.0, step=0.2, floor=0.6))


@pytest.mark.parametrize(
    "beta",
    [
        {"kind": "constant", "value": 1.2},
        {"kind": "linear", "start": 0.5, "step": -0.1},
        {"kind": "list", "values": [0.5, 2]},
        {"kind": "list", "values": []},
        {"kind": "exponential", "start": 1, "decay": 1.5},
        {"kind": "constant", "value": -0.1},
        {"kind": "cosine"},
    ],
)
def test_a_beta_outside_zero_to_one_is_refused(beta: object) -> None:
    with pytest.raises(ValidationError):
        TurnMixture.model_validate({"beta": beta})


@pytest.mark.parametrize(
    ("text", "roll_in"),
    [("student", Student()), ("teacher", Teacher()), ("beta=0.25", TurnMixture(beta=Constant(value=0.25)))],
)
def test_a_mixture_in_words(text: str, roll_in: object) -> None:
    assert mixture(text) == roll_in


@pytest.mark.parametrize("text", ["beta=2", "beta=", "half", "beta=-1"])
def test_what_is_no_mixture_is_said(text: str) -> None:
    with pytest.raises(UserError, match="is none"):
        mixture(text)
