"""The table of methods: what a row and a recipe say, and which samples and weights come of it."""

from dataclasses import replace
from pathlib import Path
from statistics import mean
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import make_task
from transformers import PreTrainedTokenizerBase

from rollin.chat import action_ids
from rollin.errors import InfrastructureFault, UserError
from rollin.loop import Loop
from rollin.messages import Message
from rollin.method import METHODS, Aggregate, Method
from rollin.mixture import Actor, Student, Teacher
from rollin.policies.base import Action
from rollin.recipe import Budget, Recipe, load_recipe, parse_recipe, placeless
from rollin.store import Exit, Label, LabelStatus, Purpose, Spent, State, Store, TrajectoryRow
from rollin.training.objectives import PolicyGradient, ReverseKL
from rollin.training.samples import advantages, affordable, fitting, training_samples, weights_of
from rollin.training.trie import Sample, pack
from rollin.trajectories import Trajectories

QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"


def recipe(*changes: str) -> Recipe:
    return load_recipe(QUICKSTART, changes)


def row(number: int, task: str, resolved: bool | None, iteration: int = 1) -> TrajectoryRow:
    return TrajectoryRow(
        number, task, iteration, number, Purpose.COLLECT, "student", 0, Exit.SUBMITTED, None, resolved, None, 0.0, 1.0
    )


OUTCOMES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([True, False, None])), max_size=20)


@given(OUTCOMES)
def test_advantages_compare_the_attempts_at_one_task(outcomes: list[tuple[str, bool | None]]) -> None:
    rows = [row(number, task, resolved) for number, (task, resolved) in enumerate(outcomes)]
    found = advantages(rows)
    for task in "abc":
        group = [each for each in rows if each.instance_id == task and each.resolved is not None]
        weighed = {each.id: found[each.id] for each in group if each.id in found}
        assert len(weighed) == (len(group) if len({each.resolved for each in group}) == 2 else 0)
        if weighed:
            assert mean(weighed.values()) == pytest.approx(0, abs=1e-6)
            assert all((found[each.id] > 0) == each.resolved for each in group)


def test_the_same_task_in_another_iteration_is_another_group() -> None:
    assert advantages([row(0, "a", True), row(1, "a", False, iteration=2)]) == {}


def test_rejection_sampling_keeps_what_was_resolved() -> None:
    rows = [row(0, "a", True), row(1, "b", False), row(2, "c", None)]
    assert weights_of(rows, METHODS["sft"], 1) == {0: 1.0}
    assert weights_of(rows, METHODS["dagger"], 1) == {0: 1.0, 1: 1.0, 2: 1.0}


@given(st.none() | st.integers(1, 9), st.integers(1, 9))
def test_the_last_iterations_are_aggregated_or_all(last: int | None, iteration: int) -> None:
    found = [*Aggregate(iterations=last).of(iteration)]
    assert found == [*range(1, iteration + 1)][-(last or iteration) :]


def test_labels_weigh_by_their_age_and_the_last_number_repeats() -> None:
    method = METHODS["dagger"].model_copy(update={"aggregate": Aggregate(weights=[1.0, 0.5, 0.25])})
    weights = [weights_of([row(0, "a", True, iteration)], method, 5)[0] for iteration in (1, 2, 3, 4, 5)]
    assert weights == [0.25, 0.25, 0.25, 0.5, 1.0]


@given(st.floats(0.05, 0.95), st.integers(2, 9))
def test_a_share_of_older_trajectories_is_drawn_anew_in_each_iteration(share: float, learning: int) -> None:
    method = METHODS["dagger"].model_copy(update={"aggregate": Aggregate(shares=[1.0, share])})
    old, new = (
        [row(number, f"task {number}", True, iteration) for number in range(800)] for iteration in (1, learning)
    )
    drawn = weights_of(old, method, learning)
    assert len(weights_of(new, method, learning)) == 800
    assert abs(len(drawn) / 800 - share) < 0.09  # five standard deviations
    assert drawn == weights_of(old, method, learning)
    assert drawn.keys() != weights_of(old, method, learning + 1).keys()


@pytest.mark.parametrize(
    ("missing", "invalid", "ready", "outcome"),
    [(1, 0, 0, InfrastructureFault), (0, 3, 0, UserError), (0, 3, 5, "3 labels are of no use"), (0, 0, 0, "")],
)
def test_labels_that_cannot_be_learnt_from_are_told(
    missing: int, invalid: int, ready: int, outcome: str | type[Exception]
) -> None:
    said = list[str]()
    reporter = SimpleNamespace(say=said.append)
    trajectories = Trajectories(*[None] * 6, reporter)  # type: ignore[arg-type]
    labels = {LabelStatus.MISSING: missing, LabelStatus.INVALID: invalid, LabelStatus.READY: ready}
    if isinstance(outcome, str):
        trajectories._heed_missing(1, labels)  # type: ignore[arg-type]
        assert outcome in "".join(said)
        assert bool(said) == bool(outcome)
    else:
        with pytest.raises(outcome, match="label"):
            trajectories._heed_missing(1, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("aggregate", "shares", "weight"),
    [("all", (1.0, 1.0), 1.0), ("{shares: [1, 0.6, 0.2], weights: [1, 0.5]}", (0.6, 0.2), 0.5)],
)
def test_demonstrations_count_as_an_iteration_before_the_first(
    aggregate: str, shares: tuple[float, float], weight: float
) -> None:
    shown = [[Sample([number], [1], weight=2.0)] for number in range(800)]
    loop = Loop(recipe(f"method.aggregate={aggregate}"), *[None] * 6, shown)  # type: ignore[arg-type]
    for iteration, share in enumerate(shares, 1):
        drawn = loop.shown(iteration)
        assert drawn == loop.shown(iteration)
        assert abs(len(drawn) / 800 - share) < 0.09  # five standard deviations
        assert {sample.weight for group in drawn for sample in group} == {2.0 * weight}


def test_the_short_forms_of_aggregate_are_what_they_say() -> None:
    assert recipe("method.aggregate=last").method.aggregate == Aggregate(iterations=1)
    assert recipe("method.aggregate=all").method.aggregate == Aggregate()
    assert recipe("method.aggregate.shares=[1, 0.3]").method.aggregate.shares == [1.0, 0.3]
    with pytest.raises(UserError, match="neither 'all' nor 'last'"):
        recipe("method.aggregate=newest")
    with pytest.raises(UserError, match=r"method\.aggregate\.shares.*greater than 0"):
        recipe("method.aggregate.shares=[1, 0]")


@given(
    lengths=st.lists(st.integers(1, 30), max_size=12),
    tokens=st.integers(0, 200),
    seed=st.integers(0, 5),
)
def test_what_training_can_afford_fits_and_is_not_less_than_it_has_to_be(
    lengths: list[int], tokens: int, seed: int
) -> None:
    groups = [[Sample([number], [7] * length)] for number, length in enumerate(lengths)]
    kept = affordable(groups, tokens, seed, longest=1000)
    assert all(group in groups for group in kept)
    assert sum(len(pack(group)) for group in kept) <= tokens
    room = tokens - sum(len(pack(group)) for group in kept)
    assert len(kept) == len(groups) or room < max(len(pack(group)) for group in groups)
    assert affordable(groups, None, seed, longest=1000) == groups


def test_a_trajectory_that_is_cut_for_its_length_costs_what_its_pieces_cost() -> None:
    state = [*range(50)]
    group = [Sample(state, [100, 101]), Sample([*state, 200], [201, 202])]
    assert len(pack(group)) == 55
    assert affordable([group], 60, 0, longest=100) == [group]
    assert not affordable([group], 60, 0, longest=53)  # two pieces of 52 and 53
    assert affordable([group], 105, 0, longest=53) == [group]
    assert fitting([group, [Sample([1], [2])]], 52) == [group[:1], [Sample([1], [2])]]


def test_two_recipes_are_the_same_wherever_their_servers_are() -> None:
    here, there = (
        recipe(f"teacher={{kind: endpoint, base_url: 'http://{host}/v1', model: m}}") for host in ("here", "there")
    )
    assert here != there
    assert placeless(here) == placeless(there)
    assert placeless(here, {"teacher"}) != placeless(recipe(), {"teacher"})
    other = recipe("seed=1", "teacher={kind: endpoint, base_url: 'http://here/v1', model: m}")
    assert placeless(here) != placeless(other)
    assert placeless(here, free={"seed"}) == placeless(other, free={"seed"})


@given(
    limits=st.tuples(st.none() | st.integers(1, 99), st.none() | st.integers(1, 99)),
    spent=st.builds(Spent, st.integers(0, 200), st.integers(0, 200)),
    iterations=st.integers(1, 5),
)
def test_a_share_grows_to_the_whole_budget(
    limits: tuple[int | None, int | None], spent: Spent, iterations: int
) -> None:
    budget = Budget(turns=limits[0], teacher_tokens=limits[1])
    used_up = [budget.used_up(spent, iteration, iterations) for iteration in range(1, iterations + 1)]
    assert used_up == sorted(used_up, reverse=True)  # what is left of an iteration's share, a later one may use
    over = [
        limit is not None and used >= limit
        for limit, used in zip(limits, (spent.turns, spent.teacher_tokens), strict=True)
    ]
    assert used_up[-1] == any(over)


def test_a_recipe_names_a_row_and_changes_what_it_likes() -> None:
    assert recipe("method=sft").method == METHODS["sft"]
    assert recipe("method=aggrevate", "method.attempts=2").method == METHODS["aggrevate"].model_copy(
        update={"attempts": 2}
    )
    mixed = recipe(
        "method.label=executed",
        "teacher={kind: local, model: m}",
        "method.objective={kind: reverse_kl, estimate: exact}",
    )
    assert mixed.objective == ReverseKL(estimate="exact")
    assert mixed.method.roll_in == recipe().method.roll_in
    assert recipe("method=grpo").objective == PolicyGradient(temperature=0.7)
    assert parse_recipe(mixed.model_dump(mode="json"), "a run") == mixed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["method=opd"], "needs the log-probabilities of a teacher"),
        (["method=grpo", "method.attempts=1"], "set method.attempts to 2 or more"),
        (["method=grpo", "method.label=teacher"], "set method.label to 'executed'"),
        (["method=grpo", "student.sampling.temperature=0"], "needs chance"),
        (["method={name: grpo, keep: resolved}"], "set method.keep to 'all'"),
        (["method={name: grpo, roll_in: {kind: teacher}}"], "the teacher takes all"),
        (["method={name: sft, turns: student}"], "the teacher takes all"),
        (["sandbox.seconds=-5"], "greater than 0"),
        (["sandbox.processes=0"], "greater than 0"),
        (["budget.turns=1" + 400 * "0"], "less than"),
        (["training={epochs: 1, epochs: 2}"], "'epochs' is there twice"),
        (["training=" + 5000 * "["], "is not a YAML value"),
        (["method.roll_in={kind: prefix_switch, t_max: {kind: constant, value: -1}}"], "greater than"),
        (["method.attempts=0"], "greater than or equal to 1"),
        (["method.kep=all"], "did you mean 'keep'"),
        (["method=5"], "'method' is a group of settings, not 5"),
        (["teacher=expert"], "'teacher' is a group of settings, not 'expert'"),
        (["tasks.train=[x]"], "'tasks.train.0' is a group of settings, not 'x'"),
        (["training=3"], "'training' is a group of settings, not 3"),
        (["teacher={model: m}"], "'teacher.kind' is missing"),
        (["teacher={kind: exprt}"], "'teacher.kind' can't be 'exprt'; did you mean 'expert'?"),
        (["method.roll_in={kind: x}"], "'method.roll_in.kind' can't be 'x'; valid ones are teacher, student,"),
        (["training.learning_rate=1e400"], "'training.learning_rate': input should be a finite number"),
        (["method.roll_in={kind: gate, by: uncertainty, threshold: .inf}"], "finite"),
        (["student.sampling.temperature=-1"], "greater than or equal to 0"),
        (["student.sampling.max_tokens=0"], "greater than or equal to 1"),
        (["seed=4294967296"], "less than"),
        (["tasks_per_iteration=[]"], "'tasks_per_iteration': list should have at least 1 item"),
        (["evaluation.base=-1"], "'evaluation.base': -1 is neither true or false nor how many tasks of each group"),
        (["evaluation.base=some"], "'evaluation.base': 'some' is neither true"),
        (["tasks_per_iteration=[4, 0]"], "'tasks_per_iteration.1': input should be greater than 0"),
        (["arms={x: &x {y: *x}}"], "holds itself"),
    ],
)
def test_what_a_method_cannot_have_is_said_in_one_sentence(changes: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        recipe(*changes)
    assert "\n" not in str(error.value)


def test_a_row_is_a_few_fields() -> None:
    assert Method(name="sft", roll_in=Teacher()) == METHODS["sft"].model_copy(update={"keep": "all"})
    assert METHODS["opd"].roll_in == Student()


def test_only_the_students_own_tokens_are_learnt_as_they_are(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Another policy's may be of another tokenizer; and log-probabilities without their tokens say nothing."""
    said = Action("ls", token_ids=[5, 2], logprobs=[-0.5, -0.25])
    with Store.create(tmp_path / "run.db", {}) as store:
        store.add_tasks([make_task()])
        opened = store.open_trajectory(
            make_task().instance_id, iteration=1, attempt=0, purpose=Purpose.COLLECT, policy="student", seed=0
        )
        messages: list[Message] = [{"role": "user", "content": "repair it"}]
        none = Label(LabelStatus.NOT_WANTED)
        cut = replace(said, finish_reason="length")  # by a teacher: it did not end so
        acted = [(Actor.STUDENT, said), (Actor.TEACHER, said), (Actor.TEACHER, cut)]
        for turn, (actor, action) in enumerate([*acted, (Actor.STUDENT, replace(said, token_ids=None))]):
            store.record_turn(opened.id, turn, State.of(messages), actor, action, none, 0)
        exact = METHODS["opd"].model_copy(update={"objective": ReverseKL(estimate="exact")})
        (sampled,) = training_samples(store, [1], tokenizer, METHODS["opd"])
        (every,) = training_samples(store, [1], tokenizer, exact)
    own = action_ids(tokenizer, "ls")
    assert [(sample.label, sample.behaviour) for sample in sampled] == [([5, 2], [-0.5, -0.25])]
    assert [sample.label for sample in every] == [[5, 2], own, own]
