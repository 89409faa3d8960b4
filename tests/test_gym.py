"""An environment that is no software, trained by the same loop: the example of TextArena's game, and a broken one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted import ScriptedPolicy

from rollin import runs
from rollin.errors import ContextOverflow, InfrastructureFault, UserError
from rollin.gateway import Gateway, SessionSpec
from rollin.harnesses.base import HarnessExit
from rollin.harnesses.gym import GymHarness, GymSettings, seed_of
from rollin.mixture import Actor, Student
from rollin.plugins import load
from rollin.policies.base import Action, Request
from rollin.progress import Reporter
from rollin.recipe import load_recipe
from rollin.report.summary import Summary
from rollin.store import Exit, LabelStatus, Purpose, Store
from rollin.tasks.schema import Split
from rollin.tasks.sets import GymTasks

ROOT = Path(__file__).parents[1]
GAME = f"{ROOT}/examples/guess_the_number.py"
NUMBERS = f"{GAME}:GuessTheNumber"
TASKS = GymTasks(source="gym", name="guess", count=20).tasks(Split.TRAIN, 0)
Script = Callable[[Request], str | Action | Exception]


class Breaking:
    """An environment with a bug."""

    def reset(self, seed: int) -> str:
        return "Hello."

    def step(self, action: str) -> tuple[str, float, bool]:
        raise RuntimeError("a bug")


class Bench:
    def __init__(self, store: Store, gateway: Gateway) -> None:
        self.store, self.gateway = store, gateway

    def play(self, script: Script, number: int = 0, make: str = NUMBERS, turns: int = 10) -> HarnessExit:
        task, policy = TASKS[number], ScriptedPolicy("student", script)
        row = self.store.open_trajectory(
            task.instance_id, iteration=1, attempt=0, purpose=Purpose.EVAL, policy="student", seed=0
        )
        key = self.gateway.open_session(SessionSpec(row, task, Student(), {Actor.STUDENT: policy}))
        try:
            harness = GymHarness(GymSettings(kind="gym", make=make, max_turns=turns))
            return harness.run(task, None, self.gateway.url, key)
        finally:
            self.gateway.close_session(key)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        store.add_tasks(TASKS)
        yield Bench(store, gateway)


def halving(request: Request) -> str:
    assert request.task
    said: str = load(f"{GAME}:halve")([*request.messages], request.task)
    return said


def test_the_expert_wins_every_game_in_five_guesses(bench: Bench) -> None:
    for number in range(len(TASKS)):
        assert bench.play(halving, number, turns=5) == HarnessExit(Exit.SUBMITTED, resolved=True)
    firsts = [bench.store.turns(row.id)[0].state_id for row in bench.store.trajectories()]
    assert len({*firsts}) == 1, "the number is not told"


def test_a_game_is_the_same_game_again(bench: Bench) -> None:
    """Seeds come from names; two threads that begin games at once do not disturb each other's."""
    game = load(NUMBERS)

    def numbers() -> list[int]:
        drawn = []
        for task in TASKS:
            made = game()
            made.reset(seed_of(task))
            drawn.append(made.game.state.game_state["game_number"])
        return drawn

    assert numbers() == numbers()
    assert len({*numbers()}) > 5


def test_what_is_said_wrongly_is_answered_and_a_limit_reached(bench: Bench) -> None:
    ending = bench.play(lambda request: "I do not know.", turns=3)
    assert ending in (HarnessExit(Exit.TURN_LIMIT, resolved=False), HarnessExit(Exit.SUBMITTED, resolved=False))
    last = bench.store.state_messages(bench.store.turns(1)[-1].state_id)
    assert "Invalid move format" in last[-1]["content"]


@pytest.mark.parametrize(
    ("script", "make", "exit_"),
    [
        (lambda request: "x", f"{__file__}:Breaking", Exit.INFRASTRUCTURE_FAULT),
        (lambda request: InfrastructureFault("gone"), NUMBERS, Exit.INFRASTRUCTURE_FAULT),
        (lambda request: ContextOverflow("too long"), NUMBERS, Exit.CONTEXT_LIMIT),
    ],
)
def test_what_fails_around_the_model_is_told_apart(bench: Bench, script: Script, make: str, exit_: Exit) -> None:
    assert bench.play(script, make=make).exit is exit_


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("nothing", "names no code"),
        ("no_such_module:x", "cannot be imported"),
        ("/nowhere.py:x", "there is no file"),
        ("json:nothing", "no function or class"),
    ],
)
def test_code_that_is_not_there_is_said(spec: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        load(spec)


class Silent:
    """A `Reporter` for nobody."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def phase(self, name: str, steps: int):  # type: ignore[no-untyped-def]
        from contextlib import nullcontext
        from types import SimpleNamespace

        return nullcontext(SimpleNamespace(advance=lambda *rest, **named: None))


def test_the_same_loop_trains_on_a_game(tiny_directory: Path, tmp_path: Path) -> None:
    """The example's recipe with a tiny model: rolled in, labelled, trained, measured; resumed, with nothing to do."""
    changes = [
        f"student.model={tiny_directory}",
        "iterations=1",
        "tasks_per_iteration=6",
        "concurrency=3",
        "tasks.train=[{source: gym, name: g, count: 6}]",
        "tasks.eval=[{source: gym, name: g, count: 4}]",
        f"harness.make={GAME}:GuessTheNumber",
        f"teacher.function={GAME}:halve",
        "training.parameters=full",
        "method.roll_in.beta.values=[0.5]",
        "evaluation.labels=true",
    ]
    recipe = load_recipe(ROOT / "recipes" / "guess-the-number.yaml", changes)
    reporter: Reporter = Silent()
    runs.start(recipe, tmp_path / "run", reporter)
    with Store.read(tmp_path / "run" / "run.db") as store:
        collected = store.trajectories(purpose=Purpose.COLLECT)
        assert len(collected) == 6
        assert {row.exit for row in store.trajectories()} <= {Exit.SUBMITTED, Exit.TURN_LIMIT}
        assert all(row.resolved is not None and row.patch is None for row in store.trajectories())
        turns = [turn for row in collected for turn in store.turns(row.id)]
        assert {turn.actor for turn in turns} == {*Actor}
        assert {turn.label.status for turn in turns} == {LabelStatus.READY}
        assert [evaluation.n for evaluation in store.evaluations()] == [4, 4]
        evaluated = [turn for row in store.trajectories(purpose=Purpose.EVAL) for turn in store.turns(row.id)]
        assert {(turn.actor, turn.label.status) for turn in evaluated} == {(Actor.STUDENT, LabelStatus.READY)}
        assert store.iterations()[1].trained("labels") == len(turns), "evaluation's labels are not learnt from"
        assert "turns like the teacher's" in Summary.of(store).to_markdown()
    runs.resume(tmp_path / "run", reporter)
