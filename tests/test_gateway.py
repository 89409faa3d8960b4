"""The gateway, over real HTTP with the official client: who acts, what is recorded, what a resumed run repeats."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scripted import ScriptedPolicy, make_task

from rollin.errors import ContextOverflow, InfrastructureFault, UserError
from rollin.gateway import Gateway, SessionSpec
from rollin.mixture import Actor, AnyRollIn, Constant, Gate, Student, TurnMixture
from rollin.policies.base import Action, Sampling
from rollin.store import LabelSource, LabelStatus, Purpose, Store

HTTP = openai.DefaultHttpxClient()
HALF = TurnMixture(beta=Constant(value=0.5))


def student(delay: float = 0.0) -> ScriptedPolicy:
    return ScriptedPolicy("student", lambda request: f"student {request.turn}", delay)


def teacher(delay: float = 0.0) -> ScriptedPolicy:
    return ScriptedPolicy("teacher", lambda request: f"teacher {request.turn}", delay)


@dataclass
class Run:
    """A store and a gateway, and what a harness does with them."""

    store: Store
    gateway: Gateway
    student: ScriptedPolicy = field(default_factory=student)
    teacher: ScriptedPolicy = field(default_factory=teacher)

    def spec(self, attempt: int = 0, *, labelled: bool = True, roll_in: AnyRollIn = HALF) -> SessionSpec:
        task = make_task()
        trajectory = self.store.open_trajectory(
            task.instance_id, iteration=1, attempt=attempt, purpose=Purpose.COLLECT, policy="student", seed=11
        )
        policies = {Actor.STUDENT: self.student, Actor.TEACHER: self.teacher}
        return SessionSpec(trajectory, task, roll_in, policies, self.teacher if labelled else None)

    def client(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.gateway.url, api_key=key, max_retries=2, http_client=HTTP)

    def say(self, key: str, messages: list[dict[str, str]]) -> str:
        answer = self.client(key).chat.completions.create(model="any", messages=messages)  # type: ignore[arg-type]
        return answer.choices[0].message.content or ""

    def converse(self, key: str, turns: int, observed: str = "saw") -> list[str]:
        messages = [{"role": "user", "content": "repair it"}]
        said = []
        for turn in range(turns):
            said.append(self.say(key, messages))
            messages += [{"role": "assistant", "content": said[-1]}, {"role": "user", "content": f"{observed} {turn}"}]
        return said


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        store.add_tasks([make_task()])
        yield Run(store, gateway)


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
    assert [turn.actor.value for turn in run.store.turns(spec.trajectory.id)] == ["student"] * 2 + ["teacher"] * 2


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


def test_a_dead_key_is_refused(run: Run) -> None:
    key = run.gateway.open_session(run.spec())
    run.gateway.close_session(key)
    for dead in (key, "invented", "ключ"):
        answer = httpx.get(f"{run.gateway.url}/models", headers={"Authorization": f"Bearer {dead}".encode()})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    with pytest.raises(openai.AuthenticationError):
        run.say(key, [{"role": "user", "content": "repair it"}])
    assert httpx.get(f"{run.gateway.url}/models").status_code == 401
    with pytest.raises(KeyError):
        run.gateway.close_session(key)


def test_concurrent_trajectories_keep_apart(run: Run) -> None:
    specs = [run.spec(attempt) for attempt in range(8)]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda spec: run.converse(run.gateway.open_session(spec), 6), specs))
    for spec, words in zip(specs, said, strict=True):
        turns = run.store.turns(spec.trajectory.id)
        assert [turn.action.content for turn in turns] == words
        assert words == [f"{HALF.actor(spec.trajectory.draw(k))} {k}" for k in range(6)]


def test_one_trajectory_has_one_session(run: Run) -> None:
    run.gateway.open_session(run.spec())
    with pytest.raises(ValueError, match="has a session already"):
        run.gateway.open_session(run.spec())


@pytest.mark.parametrize("broken", [InfrastructureFault("the endpoint is gone"), ZeroDivisionError()])
def test_a_policys_fault_is_503_and_no_turn(run: Run, broken: Exception) -> None:
    spec = run.spec(roll_in=Student())
    key = run.gateway.open_session(spec)
    run.converse(key, 1)
    run.student.script = lambda request: broken
    messages = [{"role": "user", "content": "another"}]
    for _ in range(2):
        with pytest.raises(openai.InternalServerError) as caught:
            run.say(key, messages)
        assert (caught.value.status_code, caught.value.code) == (503, "infrastructure_fault")
    assert len(run.student.requests) == 2, "the client did not repeat the call, and the session stays at fault"
    report = run.gateway.close_session(key)
    assert report.fault is not None
    assert report.fault.startswith("turn 1: the student could not answer")
    assert len(run.store.turns(spec.trajectory.id)) == 1


def test_a_conversation_too_long_for_the_model_is_400(run: Run) -> None:
    key = run.gateway.open_session(run.spec(roll_in=Student()))
    run.student.script = lambda request: ContextOverflow("4,100 tokens, the student reads 4,096")
    with pytest.raises(openai.BadRequestError) as caught:
        run.say(key, [{"role": "user", "content": "repair it"}])
    assert caught.value.code == "context_length_exceeded"
    report = run.gateway.close_session(key)
    assert (report.overflowed, report.fault) == (True, None)


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


def test_token_ids_and_counts_reach_the_store_and_usage_the_harness(run: Run) -> None:
    action = Action("ls", "length", 7, 2, token_ids=[3, 4], logprobs=[-1.0, -0.5])
    run.student.script = lambda request: action
    spec = run.spec(roll_in=Student())
    client = run.client(run.gateway.open_session(spec))
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert answer.usage is not None
    assert (answer.model, answer.choices[0].finish_reason, answer.usage.total_tokens) == ("m", "length", 9)
    assert run.store.turns(spec.trajectory.id)[0].action == action


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}], "stream": "perhaps"}, "stream"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{}]}, "tools.0"),
        ({"messages": [{"role": "user", "content": "x"}], "functions": [{}]}, "outdated"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content"),
        ({"messages": [{"role": "user", "content": "x"}], "n": 2}, "n:"),
        ("not json", "not JSON"),
    ],
)
def test_what_the_gateway_cannot_serve_is_said(run: Run, body: object, word: str) -> None:
    key = run.gateway.open_session(run.spec())
    content = body if isinstance(body, str) else None
    answer = httpx.post(
        f"{run.gateway.url}/chat/completions",
        content=content,
        json=None if content else body,
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]
    assert run.gateway.close_session(key).turns == 0


def test_odd_but_legal_requests_are_served(run: Run) -> None:
    key = run.gateway.open_session(run.spec())
    content = '[{"type": "text", "text": "half \\ud800"}, {"type": "text", "text": " nul \\u0000"}]'
    body = f'{{"messages": [{{"role": "user", "content": {content}}}], "tools": [], "top_k": 3, "stream": false}}'
    answer = httpx.post(f"{run.gateway.url}/chat/completions", content=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    state = run.store.turns(1)[0].state_id
    assert run.store.state_messages(state) == [{"role": "user", "content": "half ? nul \x00"}]


def test_a_huge_request_is_refused(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store, max_body_mb=1) as gateway:
        store.add_tasks([make_task()])
        run = Run(store, gateway)
        key = gateway.open_session(run.spec())
        with pytest.raises(openai.APIStatusError) as caught:
            run.say(key, [{"role": "user", "content": "x" * 2**20}])
        assert caught.value.status_code == 413
        assert run.say(key, [{"role": "user", "content": "x"}])


def test_a_client_that_stops_sending_is_let_go(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store, body_seconds=0.3) as gateway:
        store.add_tasks([make_task()])
        run = Run(store, gateway)
        key = gateway.open_session(run.spec())
        with socket.create_connection(("127.0.0.1", int(gateway.url.split(":")[2].split("/")[0]))) as slow:
            lines = [
                "POST /v1/chat/completions HTTP/1.1",
                "Host: x",
                f"Authorization: Bearer {key}",
                "Content-Length: 9",
            ]
            slow.sendall("\r\n".join([*lines, "", "{"]).encode())
            slow.settimeout(10)
            assert b" 408 " in slow.recv(1000)
        assert run.say(key, [{"role": "user", "content": "x"}])


def test_an_unknown_address_has_openais_error_shape(run: Run) -> None:
    assert "Not Found" in httpx.get(f"{run.gateway.url}/nothing").json()["error"]["message"]


def test_a_taken_port_is_said(run: Run) -> None:
    port = int(run.gateway.url.split(":")[2].split("/")[0])
    with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}"):
        Gateway(run.store, port=port)


def test_metrics_count_turns_labels_and_faults(run: Run) -> None:
    """As Prometheus' own parser reads them; no key is needed, and none is shown."""

    def scrape() -> dict[tuple[str, str], float]:
        text = httpx.get(run.gateway.url.removesuffix("/v1") + "/metrics").text
        assert key not in text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {(sample.name, next(iter(sample.labels.values()), "")): sample.value for sample in samples}

    key = run.gateway.open_session(run.spec(roll_in=Student()))
    run.converse(key, 3)
    run.gateway.await_labels()
    seen = scrape()
    assert seen["rollin_turns_total", "student"] == seen["rollin_labels_total", "ready"] == 3
    assert seen["rollin_policy_seconds_count", "student"] == seen["rollin_label_lag_seconds_count", ""] == 3
    assert (seen["rollin_turns_total", "teacher"], seen["rollin_sessions_open", ""]) == (0, 1)
    run.student.script = lambda request: InfrastructureFault("gone")
    with pytest.raises(openai.InternalServerError):
        run.say(key, [{"role": "user", "content": "another"}])
    assert scrape()["rollin_policy_faults_total", "student"] == 1
