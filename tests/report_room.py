"""A store that is filled by hand, and a console whose words can be read."""

import io
from pathlib import Path

from rich.console import Console
from scripted import make_task

from rollin.messages import Message
from rollin.mixture import Actor
from rollin.policies.base import Action
from rollin.store import EvaluationRow, Exit, Label, LabelSource, LabelStatus, Phase, Purpose, Store, TrajectoryRow
from rollin.store.states import State
from rollin.tasks.schema import Family, Task

RECIPE = {
    "name": "tiny|run",
    "method": {"name": "dagger"},
    "iterations": 2,
    "student": {"model": "smollm2-135m"},
    "teacher": {"kind": "expert"},
}
TASKS = {
    "a": Family.VISIBLE,
    "b": Family.VISIBLE,
    "c": Family.REGRESSION,
}


def task(name: str) -> Task:
    return make_task(name).model_copy(update={"source": "kata", "family": TASKS[name]})


def empty(path: Path) -> Store:
    store = Store.create(path / "run.db", RECIPE)
    store.add_tasks(task(name) for name in TASKS)
    return store


def attempt(
    store: Store,
    name: str,
    iteration: int,
    purpose: Purpose,
    ended_by: Exit | None,
    resolved: bool | None = None,
    policy: str = "student",
) -> TrajectoryRow:
    row = store.open_trajectory(name, iteration=iteration, attempt=0, purpose=purpose, policy=policy, seed=0)
    if ended_by is not None:
        store.end_trajectory(row.id, ended_by, "--- a/x\n+++ b/x\n")
    if resolved is not None:
        store.grade_trajectory(row.id, resolved, {"graded": "by hand"})
    return row


def conversation(turn: int) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": "You repair."}, {"role": "user", "content": "Mend it."}]
    for k in range(turn):
        messages += [{"role": "assistant", "content": f"do {k}"}, {"role": "user", "content": f"saw {k}"}]
    return messages


def act(store: Store, row: TrajectoryRow, turn: int, actor: Actor, label: Label, said: str = "") -> None:
    action = Action(said or f"do {turn}", prompt_tokens=100, completion_tokens=10, seconds=0.5)
    store.record_turn(row.id, turn, State.of(conversation(turn)), actor, action, label, started=0.0)


def beside(text: str) -> Label:
    return Label.of(Action(text, prompt_tokens=100, completion_tokens=7, seconds=2.0), LabelSource.BESIDE)


def executed(turn: int) -> Label:
    return Label.of(Action(f"do {turn}"), LabelSource.EXECUTED)


def filled(tmp_path: Path) -> Store:
    """Evaluated before; iteration 1 done; iteration 2 stopped in the middle."""
    store = empty(tmp_path)
    store.begin_iteration(0)
    for name, ended_by, resolved in (
        ("a", Exit.SUBMITTED, True),
        ("b", Exit.TURN_LIMIT, False),
        ("c", Exit.INFRASTRUCTURE_FAULT, None),
    ):
        row = attempt(store, name, 0, Purpose.EVAL, ended_by, resolved)
        act(store, row, 0, Actor.STUDENT, Label(LabelStatus.NOT_WANTED))
    store.record_evaluation(EvaluationRow(0, "smollm2-135m", "student", "eval", 2, 1, 1, {}))
    store.advance_iteration(0, Phase.DONE)

    store.begin_iteration(1, beta=0.5)
    first = attempt(store, "a", 1, Purpose.COLLECT, Exit.SUBMITTED, True)
    act(store, first, 0, Actor.TEACHER, executed(0))
    act(store, first, 1, Actor.STUDENT, beside("do 1"))
    act(store, first, 2, Actor.STUDENT, beside("look first"))
    act(store, first, 3, Actor.STUDENT, Label(LabelStatus.MISSING))
    training = {"loss": 0.25, "label_tokens": 1234, "packed_tokens": 5000, "separate_tokens": 20000, "seconds": 61.4}
    store.advance_iteration(1, Phase.EVALUATING, metrics={"training": training})
    for name in TASKS:
        attempt(store, name, 1, Purpose.EVAL, Exit.SUBMITTED, True)
    store.advance_iteration(1, Phase.DONE)

    store.begin_iteration(2, beta=0.0)
    under_way = attempt(store, "b", 2, Purpose.COLLECT, None)
    act(store, under_way, 0, Actor.STUDENT, Label(LabelStatus.PENDING))
    attempt(store, "c", 2, Purpose.COLLECT, Exit.SUBMITTED)  # its grade is not there yet
    return store


def on_paper(width: int = 200) -> tuple[Console, io.StringIO]:
    paper = io.StringIO()
    return Console(file=paper, width=width, color_system=None), paper
