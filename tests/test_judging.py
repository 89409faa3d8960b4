"""What a teacher thinks of a student's turns once it has seen what came of them, and what is learnt for it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedPolicy, make_task
from transformers import PreTrainedTokenizerBase

from rollin.errors import InfrastructureFault
from rollin.gateway import Gateway
from rollin.messages import Message
from rollin.method import METHODS
from rollin.mixture import Actor, Student
from rollin.policies.base import Action, Request
from rollin.policies.judging import QUESTION, sound
from rollin.rollout import Cast, Rollouts
from rollin.sandboxes.base import Limits
from rollin.store import Label, LabelStatus, Purpose, State, Store, TurnRow
from rollin.training.samples import training_samples


def record(store: Store, actors: list[Actor], *, forgets: int | None = None) -> list[TurnRow]:
    """A trajectory of so many turns; the harness forgets the message of one of them, as of one without a command."""
    store.add_tasks([make_task("a")])
    row = store.open_trajectory("a", iteration=1, attempt=0, purpose=Purpose.COLLECT, policy="student", seed=0)
    messages, turns = [Message(role="user", content="repair it")], []
    for number, actor in enumerate(actors):
        action, none = Action(f"step {number}"), Label(LabelStatus.NOT_WANTED)
        turns.append(store.record_turn(row.id, number, State.of(messages), actor, action, none, 0.0))
        said = [] if number == forgets else [Message(role="assistant", content=action.content)]
        messages = [*messages, *said, Message(role="user", content=f"output {number}")]
    return turns


@pytest.mark.parametrize(("said", "verdict"), [("Yes, it was.", True), (" no", False), ("Perhaps.", None), ("", None)])
def test_a_teacher_that_is_asked_says_yes_or_no(said: str, verdict: bool | None) -> None:
    teacher = ScriptedPolicy("teacher", lambda request: said)
    state = [Message(role="assistant", content="ls"), Message(role="user", content="a.py")]
    assert asyncio.run(sound(teacher, Request(state, "t", 1, 0))) is verdict
    assert teacher.requests[0].messages[-1]["content"] == f"a.py\n\n{QUESTION}"
    assert state[-1]["content"] == "a.py"


def test_each_of_the_students_turns_is_judged_by_what_followed_it(tmp_path: Path) -> None:
    """Not the teacher's, not the last one, and not one whose message the next state does not hold. A teacher that fails
    leaves its turn unjudged, and is asked again; one that has judged is not."""
    verdicts: dict[str, Any] = {"output 0": "yes", "output 1": "no", "output 4": InfrastructureFault("down")}
    teacher = ScriptedPolicy("teacher", lambda request: verdicts[request.messages[-1]["content"].split("\n")[0]])
    cast = Cast("student", Student(), {})
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        actors = [Actor.STUDENT, Actor.STUDENT, Actor.TEACHER, Actor.STUDENT, Actor.STUDENT, Actor.STUDENT]
        (first, *_) = record(store, actors, forgets=3)
        harness: Any = None  # nothing is rolled out
        rollouts = Rollouts(store, gateway, harness, cache_dir=tmp_path, limits=Limits(), concurrency=2, seed=0)
        rollouts.judge(cast, teacher, iteration=1)
        assert [t.sound for t in store.turns(first.trajectory_id)] == [True, False, None, None, None, None]
        assert len(teacher.requests) == 3
        verdicts["output 4"] = "yes"
        rollouts.judge(cast, teacher, iteration=1)
        assert [t.sound for t in store.turns(first.trajectory_id)] == [True, False, None, None, True, None]
        assert len(teacher.requests) == 4


def test_turns_that_the_teacher_would_leave_alone_are_not_learnt(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Of the student's: those judged unsound, and those that nobody could judge."""
    method = METHODS["sage-opd"].model_copy(update={"objective": METHODS["dagger"].objective})
    with Store.create(tmp_path / "run.db", {}) as store:
        turns = record(store, [Actor.STUDENT, Actor.STUDENT, Actor.STUDENT, Actor.TEACHER])
        store.record_judgement(turns[0].id, True)
        store.record_judgement(turns[1].id, False)
        (group,) = training_samples(store, [1], tokenizer, method)
    assert [tokenizer.decode(sample.label) for sample in group] == ["step 1<|im_end|>", "step 2<|im_end|>"]
