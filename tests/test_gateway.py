"""The gateway, over real HTTP with the official client: who acts, what is recorded, what a resumed run repeats."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from gateway_room import HALF, Run, teacher
from scripted import make_task

from rollin.errors import ContextOverflow, InfrastructureFault
from rollin.gateway import Gateway, SessionSpec
from rollin.mixture import Actor, Constant, Gate, Student, TurnMixture
from rollin.policies.base import Action, Sampling
from rollin.store import LabelSource, LabelStatus, Store


def test_who_acts_follows_the_mixture_exactly(run: Run) -> None:
    spec = run.spec()
    said = run.converse(run.gateway.open_session(spec), 20)
    expected = [HALF.actor(spec.trajectory.draw(turn)) for turn in range(20)]
    assert said == [f"{actor} {turn}" for turn, actor in enumerate(expected)]
    assert {*expected} == {*Actor}
    assert [turn.actor for turn in run.store.turns(spec.trajectory.id)] == expected


def test_every_state_gets_the_teachers_action_as_its_label(run: Run) -> None:
    spec = run.spec()
    run.converse(run.gateway.open_session(spec), 12)
    counts = run.gateway.await_labels()
    turns = run.store.turns(spec.trajectory.id)
    beside = [turn for turn in turns if turn.actor is Actor.STUDENT]
    assert [turn.label.text for turn in turns] == [f"teacher {k}" for k in range(12)]
    assert {turn.label.source for turn in beside} == {LabelSource.BESIDE}
    assert {turn.label.source for turn in turns if turn not in beside} == {LabelSource.EXECUTED}
    assert (counts.pending, counts.ready, counts.missing) == (0, len(beside), 0)
    assert len(run.teacher.requests) == 12, "the teacher was asked once for each state"


def test_a_label_is_what_the_teacher_would_have_done(run: Run) -> None:
    """Where it acts and where it labels, the teacher gets the same question: conversation, seed and sampling."""
    alone = Run(run.store, run.gateway)
    sampling = {Actor.TEACHER: Sampling(temperature=0.7), Actor.STUDENT: Sampling(max_tokens=9)}
    for here, beta in ((run, 1.0), (alone, 0.0)):
        spec = here.spec(roll_in=TurnMixture(beta=Constant(value=beta)))
        spec = SessionSpec(spec.trajectory, spec.task, spec.roll_in, spec.policies, spec.labeller, sampling)
        key = run.gateway.open_session(spec)
        run.say(key, [{"role": "user", "content": "repair it"}])
        run.gateway.await_labels()
        run.gateway.close_session(key)
        with run.store._transaction() as db:
            db.execute("DELETE FROM turns")
    assert run.teacher.requests == alone.teacher.requests
    assert alone.student.requests[0].sampling == Sampling(max_tokens=9)


def test_a_gate_lets_the_teacher_act_where_the_student_is_unsure(run: Run) -> None:
    sure, unsure = Action("sure", logprobs=[-0.1, -0.3]), Action("unsure", logprobs=[-0.1, -1.9])
    run.student.script = lambda request: unsure if request.turn % 2 else sure
    spec = run.spec(roll_in=Gate(threshold=0.5))
    assert run.converse(run.gateway.open_session(spec), 4) == ["sure", "teacher 1", "sure", "teacher 3"]
    run.gateway.await_labels()
    turns = run.store.turns(spec.trajectory.id)
    assert [turn.actor.value for turn in turns] == ["student", "teacher"] * 2
    assert [turn.label.text for turn in turns] == [f"teacher {turn}" for turn in range(4)]


def test_a_gate_lets_the_teacher_act_where_it_disagrees(run: Run) -> None:
    run.student.script = lambda request: f"teacher {request.turn}" if request.turn < 2 else "something else"
    spec = run.spec(roll_in=Gate(by="disagreement", threshold=0.3))
    run.converse(run.gateway.open_session(spec), 4)
    run.gateway.await_labels()
    turns = run.store.turns(spec.trajectory.id)
    assert [turn.actor.value for turn in turns] == ["student"] * 2 + ["teacher"] * 2
    assert [turn.label.text for turn in turns] == [f"teacher {turn}" for turn in range(4)]
    assert [turn.label.source for turn in turns] == [LabelSource.BESIDE] * 2 + [LabelSource.EXECUTED] * 2
    assert len(run.teacher.requests) == 4, "what it says where it agrees is the label: it is not asked again"


@pytest.mark.parametrize(
    ("beta", "said", "status", "cost"),
    [
        (0.0, ["", "", "ls"], LabelStatus.READY, 3),
        (0.0, ["", "", ""], LabelStatus.INVALID, 3),
        (1.0, ["", "", "ls"], LabelStatus.READY, 2),
        (1.0, ["", "", ""], LabelStatus.INVALID, 2),
        (1.0, ["ls"], LabelStatus.READY, 0),
    ],
)
def test_all_that_a_teacher_is_asked_is_counted(
    run: Run, beta: float, said: list[str], status: LabelStatus, cost: int
) -> None:
    """Once: what it executes is in its turn, which says what the harness is told."""
    drawn = iter(said)
    run.teacher.script = lambda request: Action(next(drawn), prompt_tokens=10, completion_tokens=5, seconds=2.0)
    run.converse(run.gateway.open_session(run.spec(roll_in=TurnMixture(beta=Constant(value=beta)))), 1)
    run.gateway.await_labels()
    (turn,) = run.store.turns(1)
    label = turn.label
    assert (turn.action.prompt_tokens, turn.action.completion_tokens) == (10, 5)
    assert (label.status, label.prompt_tokens, label.completion_tokens) == (status, cost * 10, cost * 5)
    assert label.seconds == cost * 2.0
    assert run.store.spent([1]).teacher_tokens == len(said) * 5


def test_labels_do_not_hold_up_the_student(run: Run) -> None:
    run.teacher.delay = 1.0
    key = run.gateway.open_session(run.spec(roll_in=Student()))
    run.say(key, [{"role": "user", "content": "warm up"}])
    started = time.perf_counter()
    run.converse(key, 4)
    assert time.perf_counter() - started < 1.0
    assert run.store.label_counts(1)[LabelStatus.PENDING] >= 4
    seen: list[int] = []
    run.gateway.await_labels(lambda counts: seen.append(counts.pending))
    assert seen[-1] == 0
    assert run.store.label_counts(1)[LabelStatus.READY] == 5
    assert run.teacher.most_active > 1


def test_labelling_is_bounded(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store, label_concurrency=2) as gateway:
        store.add_tasks([make_task()])
        run = Run(store, gateway, teacher=teacher(delay=0.3))
        run.converse(gateway.open_session(run.spec(roll_in=Student())), 6)
        gateway.await_labels()
        assert run.teacher.most_active == 2


def test_an_evaluation_asks_for_no_labels(run: Run) -> None:
    spec = run.spec(labelled=False, roll_in=Student())
    run.converse(run.gateway.open_session(spec), 3)
    assert {turn.label.status for turn in run.store.turns(spec.trajectory.id)} == {LabelStatus.NOT_WANTED}
    assert run.teacher.requests == []


def test_a_repeated_call_is_not_a_second_turn(run: Run) -> None:
    spec = run.spec()
    key = run.gateway.open_session(spec)
    messages = [{"role": "user", "content": "repair it"}]
    run.student.delay = run.teacher.delay = 0.2
    with ThreadPoolExecutor(3) as pool:
        said = {*pool.map(lambda _: run.say(key, messages), range(3))}
    assert len(said) == 1
    assert len(run.store.turns(spec.trajectory.id)) == 1
    assert run.gateway.close_session(key).turns == 1


def test_sub_agents_are_told_apart(run: Run) -> None:
    """Another system prompt is another thread: a repeated call is none of its turns, and each is replayed by itself."""
    spec = run.spec(roll_in=Student())
    main, sub = ([{"role": "system", "content": who}, {"role": "user", "content": "go"}] for who in ("main", "sub"))

    def follow(messages: list[dict[str, str]], said: str) -> list[dict[str, str]]:
        return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": "saw"}]

    for _ in range(2):
        key = run.gateway.open_session(spec)
        assert [run.say(key, each) for each in (main, sub, main, sub)] == ["student 0", "student 1"] * 2
        assert run.say(key, follow(sub, "student 1")) == "student 2"
        assert run.say(key, follow(main, "student 0")) == "student 3"
        report = run.gateway.close_session(key)
    assert (report.turns, report.replayed) == (4, 4)
    assert [turn.thread for turn in run.store.turns(spec.trajectory.id)] == [0, 1, 1, 0]
    assert len(run.student.requests) == 4


def test_sub_agents_that_begin_alike_get_their_own_answers(run: Run) -> None:
    """No system prompt tells them apart; a call that any of them repeats is none of its turns."""
    key = run.gateway.open_session(run.spec(roll_in=Student()))
    calls = [[{"role": "user", "content": who}] for who in "abc"]
    assert [run.say(key, each) for each in calls * 2] == ["student 0", "student 1", "student 2"] * 2
    assert len(run.store.turns(1)) == 3


def test_a_sub_agent_keeps_its_number_when_another_was_killed_before_its_turn(run: Run) -> None:
    """Threads are numbered as they begin, and a turn that was under way is none."""
    spec = run.spec(roll_in=Student())
    main, lost, other = ([{"role": "system", "content": who}] for who in ("main", "lost", "other"))
    key = run.gateway.open_session(spec)
    run.say(key, main)
    answers, run.student.script = run.student.script, lambda request: ContextOverflow("long")
    with pytest.raises(openai.BadRequestError):
        run.say(key, lost)
    run.student.script = answers
    run.say(key, other)
    run.gateway.close_session(key)
    key = run.gateway.open_session(spec)
    for each in (main, other, lost):
        run.say(key, each)
    assert [turn.thread for turn in run.store.turns(spec.trajectory.id)] == [0, 2, 3]


def test_the_same_messages_on_other_terms_are_another_call(run: Run) -> None:
    completions = run.client(run.gateway.open_session(run.spec(roll_in=Student()))).chat.completions
    terms: list[dict[str, object]] = [{"min_p": 0.1, "top_a": 1}, {"min_p": 0.2}, {"top_a": 1, "min_p": 0.1}]
    ask = [{"role": "user", "content": "repair it"}]
    answers = [completions.create(model="m", messages=ask, extra_body=each) for each in terms]  # type: ignore[arg-type]
    assert [answer.choices[0].message.content for answer in answers] == ["student 0", "student 1", "student 0"]


def test_sub_agents_are_replayed_each_by_its_own_state(run: Run) -> None:
    """They begin alike, and this time in another order; where none of the recorded states fits, the next turn is it."""
    spec = run.spec(roll_in=Student())
    one, other, odd = ([{"role": "user", "content": who}] for who in ("one", "other", "odd"))
    for calls, said in (((one, other), [0, 1]), ((other, one), [1, 0]), ((odd, other), [0, 1])):
        key = run.gateway.open_session(spec)
        assert [run.say(key, each) for each in calls] == [f"student {turn}" for turn in said]
        run.gateway.close_session(key)
    assert len(run.student.requests) == 2


def test_sub_agents_do_not_wait_for_each_other(run: Run) -> None:
    run.student.delay = 0.5
    key = run.gateway.open_session(run.spec(roll_in=Student()))
    calls = [[{"role": "system", "content": str(who)}, {"role": "user", "content": "go"}] for who in range(3)]
    with ThreadPoolExecutor(3) as pool:
        said = [*pool.map(lambda messages: run.say(key, messages), calls)]
    assert run.student.most_active == 3
    assert sorted(said) == [f"student {turn}" for turn in range(3)]


def test_a_turn_is_committed_before_its_answer_is_sent(run: Run) -> None:
    spec = run.spec()
    run.say(run.gateway.open_session(spec), [{"role": "user", "content": "repair it"}])
    with Store.read(run.store.path) as reader:
        assert len(reader.turns(spec.trajectory.id)) == 1


def test_a_resumed_trajectory_repeats_its_actions_and_goes_on(run: Run) -> None:
    spec = run.spec()
    key = run.gateway.open_session(spec)
    first = run.converse(key, 6)
    run.gateway.close_session(key)
    run.gateway.await_labels()
    resumed = Run(run.store, run.gateway)
    again = run.gateway.open_session(resumed.spec())
    # The observations differ from the recorded ones, and the actions are repeated all the same.
    assert resumed.converse(again, 9, observed="saw otherwise")[:6] == first
    report = run.gateway.close_session(again)
    assert (report.turns, report.replayed, report.fault) == (9, 6, None)
    assert [turn.turn for turn in run.store.turns(spec.trajectory.id)] == list(range(9))
    asked = {request.turn for request in resumed.student.requests + resumed.teacher.requests}
    assert asked == {6, 7, 8}, "replayed turns ask no policy"


def test_a_resumed_run_asks_again_for_missing_labels(run: Run) -> None:
    run.teacher.script = lambda request: InfrastructureFault("the teacher is away")
    run.gateway._labels._backoff = 0.01
    spec = run.spec(roll_in=Student())
    key = run.gateway.open_session(spec)
    run.converse(key, 3)
    run.gateway.close_session(key)
    assert run.gateway.await_labels().missing == 3
    assert len(run.teacher.requests) == 3 * 4, "each label is tried four times"
    assert run.store.label_counts(1)[LabelStatus.MISSING] == 3
    run.teacher.script = lambda request: request.messages[-1]["content"]
    assert run.gateway.ask_for_missing_labels(spec) == 3
    run.gateway.await_labels()
    assert [turn.label.text for turn in run.store.turns(spec.trajectory.id)] == ["repair it", "saw 0", "saw 1"]
    assert run.gateway.ask_for_missing_labels(spec) == 0


def test_labels_interrupted_by_the_end_stay_pending_and_are_asked_again(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.db", {}) as store:
        store.add_tasks([make_task()])
        with Gateway(store) as gateway:
            run = Run(store, gateway, teacher=teacher(delay=60))
            run.converse(gateway.open_session(run.spec(roll_in=Student())), 2)
        assert store.label_counts(1)[LabelStatus.PENDING] == 2
        with Gateway(store) as gateway:
            resumed = Run(store, gateway)
            gateway.open_session(resumed.spec(roll_in=Student()))
            assert gateway.await_labels().ready == 2


def test_one_trajectory_has_one_session(run: Run) -> None:
    """The later one: the agent was killed in the middle of a call, and begins again."""
    ask, further = [{"role": "user", "content": "repair it"}], [{"role": "user", "content": "go on"}]
    spec = run.spec(roll_in=Student())
    old = run.gateway.open_session(spec)
    assert run.say(old, ask) == "student 0"
    run.student.delay = 0.5
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(run.say, old, further)
        while len(run.student.requests) < 2:
            time.sleep(0.01)
        new = run.gateway.open_session(spec)
        with pytest.raises(openai.InternalServerError, match="ended meanwhile"):
            under_way.result()
    with pytest.raises(openai.AuthenticationError, match="another session of trajectory 1 was opened since; give each"):
        run.say(old, ask)
    assert [run.say(new, each) for each in (ask, further)] == ["student 0", "student 1"]
    assert run.gateway.open_sessions == 1
    report = run.gateway.close_session(new)
    assert (report.turns, report.replayed, report.fault) == (2, 1, None)
    with pytest.raises(KeyError):
        run.gateway.close_session(old)


def test_a_call_that_outlives_its_session_is_no_turn(run: Run) -> None:
    run.student.delay = 0.5
    spec = run.spec(roll_in=Student())
    key = run.gateway.open_session(spec)
    call = threading.Thread(target=lambda: httpx.post(
        f"{run.gateway.url}/chat/completions",
        json={"messages": [{"role": "user", "content": "repair it"}]}, headers={"Authorization": f"Bearer {key}"},
    ))  # fmt: skip
    call.start()
    while not run.student.requests:
        time.sleep(0.01)
    assert run.gateway.close_session(key).turns == 0
    call.join()
    assert run.store.turns(spec.trajectory.id) == []


def test_policies_forget_a_trajectory_when_it_and_its_labels_are_done(run: Run) -> None:
    run.teacher.delay = 0.3
    spec = run.spec(roll_in=Student())
    key = run.gateway.open_session(spec)
    run.converse(key, 1)
    run.gateway.close_session(key)
    name = str(spec.trajectory.id)
    assert run.teacher.forgotten == []
    run.gateway.await_labels()
    time.sleep(0.1)
    assert (run.student.forgotten, run.teacher.forgotten) == ([name], [name])
