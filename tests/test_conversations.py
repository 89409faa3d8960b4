"""What an agent that somebody else runs is to a gateway that stands by itself: its sessions, and conversations with the
plain key. A scripted student."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import gethostname
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from gateway_room import Run, half_a_call
from scripted import ScriptedPolicy, make_task
from test_endpoint import served  # noqa: F401 - a fixture

from rollin.errors import InfrastructureFault, UserError
from rollin.gateway import Gateway, Host, Standing
from rollin.mixture import Actor, Student
from rollin.recipe import Recipe
from rollin.runs import _check_demonstrations
from rollin.store import Exit, Store

ASK = {"role": "user", "content": "Which commit broke it?"}


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Run]:
    """A gateway that stands by itself, over a scripted student. Its plain key is `plain`."""
    student = ScriptedPolicy("student", lambda request: f"{request.trajectory}: {request.turn}")
    with Store.create(tmp_path / "run.db", {}) as store:
        standing = Standing(Host(store, Student(), {Actor.STUDENT: student}, None), "key", "plain")
        with Gateway(store, standing=standing) as gateway:
            yield Run(store, gateway, student)


def at_once(run: Run, count: int, messages: list[dict[str, str]]) -> list[str]:
    """What so many agents with the plain key are told who begin at the same time."""
    run.student.delay = 0.3
    with ThreadPoolExecutor(count) as pool:
        said = [*pool.map(lambda _: run.say("plain", messages), range(count))]
    run.student.delay = 0.0
    return said


def following(messages: list[dict[str, str]], said: str, seen: str = "And now?") -> list[dict[str, str]]:
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": seen}]


def test_conversations_that_began_alike_are_told_apart_by_their_answers(alone: Run) -> None:
    assert sorted(at_once(alone, 3, [ASK])) == ["1: 0", "2: 0", "3: 0"]
    assert [alone.say("plain", following([ASK], f"{number}: 0")) for number in (3, 1, 2)] == ["3: 1", "1: 1", "2: 1"]


def test_a_rewritten_answer_is_gone_on_with_where_no_other_fits(alone: Run) -> None:
    """Its conversation, which has gone on alike for longest, and not another that waits where it was before."""
    alone.student.script = lambda request: f" {request.turn}"
    assert at_once(alone, 2, [ASK]) == [" 0", " 0"]
    longer = following([ASK], " 0")
    assert alone.say("plain", longer) == " 1"
    assert alone.say("plain", following(longer, "1")) == " 2"
    assert sorted(len(alone.store.turns(number)) for number in (1, 2)) == [1, 3]


def test_a_first_call_that_is_repeated_while_it_is_answered_begins_nothing(alone: Run) -> None:
    """As the official client does it that lost its connection; it counts its tries."""
    alone.student.delay = 0.5

    def call(tries: int) -> str:
        headers = {"Authorization": "Bearer plain", "x-stainless-retry-count": str(tries)}
        body = {"messages": [ASK]}
        answer = httpx.post(f"{alone.gateway.url}/chat/completions", json=body, headers=headers)
        return str(answer.json()["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(call, 0)
        while not alone.student.requests:
            time.sleep(0.01)
        again = pool.submit(call, 1)
        assert first.result() == again.result() == "1: 0"
    assert len(alone.store.trajectories()) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"task": {"instance_id": "x", "FAIL_TO_PASS": 3}}, "task.FAIL_TO_PASS: "),
        ({"task": {"instance_id": "x", "environment": {"python": "2"}}}, "task.environment.python: "),
        ({"task": "x", "attempt": 2**63}, "attempt: "),
        ({"task": "x", "iteration": 2**63}, "iteration: "),
        ({"task": "x", "seed": 2**63}, "seed: "),
        ({"task": "conversation"}, "task: conversation is what comes with the plain key"),
        ({"task": {"instance_id": "conversation"}}, "task: conversation is what comes with the plain key"),
    ],
)
def test_a_session_for_what_can_not_be_stored_is_refused_in_a_sentence(alone: Run, body: object, said: str) -> None:
    root = alone.gateway.url.removesuffix("/v1")
    answer = httpx.post(f"{root}/sessions", headers={"Authorization": "Bearer key"}, json=body)
    message = answer.json()["error"]["message"]
    assert (answer.status_code, message.startswith(said), "\n" in message) == (400, True, False), message
    assert alone.store.trajectories() == []


def test_an_end_and_its_grade_are_stored_at_once(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that is killed between them would leave a trajectory that can't be graded any more."""
    monkeypatch.delattr(Store, "grade_trajectory")
    root, headers = alone.gateway.url.removesuffix("/v1"), {"Authorization": "Bearer key"}
    httpx.post(f"{root}/sessions", headers=headers, json={"task": "mine"}).raise_for_status()
    httpx.post(f"{root}/sessions/1/end", headers=headers, json={"resolved": True}).raise_for_status()
    row = alone.store.trajectory(1)
    assert (row.exit, row.resolved, row.grade) == (Exit.SUBMITTED, True, {"judged_by": "harness"})


def test_what_an_agent_was_recorded_on_is_not_evaluated_on(alone: Run) -> None:
    """Where the recording serves as demonstrations."""
    root = alone.gateway.url.removesuffix("/v1")
    httpx.post(f"{root}/sessions", headers={"Authorization": "Bearer key"}, json={"task": "mine-1"}).raise_for_status()
    tasks = {side: [{"source": "kata", "family": "visible", "count": 1}] for side in ("train", "eval")}
    recipe = Recipe.model_validate(
        {"tasks_per_iteration": 1, "tasks": tasks, "demonstrations": alone.store.path.parent}
    )
    with pytest.raises(UserError, match="the task 'mine-1' is in both the demonstrations and eval"):
        _check_demonstrations(recipe, [make_task("mine-1")])
    _check_demonstrations(recipe, [make_task("mine-2")])


def test_a_session_that_ends_while_its_call_arrives_is_no_conversation(alone: Run) -> None:
    headers, root = {"Authorization": "Bearer key"}, alone.gateway.url.removesuffix("/v1")
    key = httpx.post(f"{root}/sessions", headers=headers, json={"task": "mine"}).json()["key"]
    with half_a_call(alone.gateway.url, key, [ASK]) as rest:
        httpx.post(f"{root}/sessions/1/end", headers=headers, json={})
        assert rest() == 401
    assert len(alone.store.trajectories()) == 1


def test_a_conversation_is_not_forgotten_while_it_is_answered(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollin.gateway.conversations.AT_ONCE", 1)
    alone.student.delay = 1.0
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(alone.say, "plain", [ASK])
        while not alone.student.requests:
            time.sleep(0.01)
        alone.student.delay = 0.0
        assert alone.say("plain", [{**ASK, "content": "Hello."}]) == "2: 0"
        assert under_way.result() == "1: 0"
    assert alone.say("plain", following([ASK], "1: 0")) == "1: 1"
    assert alone.say("plain", [{**ASK, "content": "Another."}]) == "3: 0"
    assert len(alone.gateway._conversations) == 1


def test_a_conversation_that_is_forgotten_ends_as_the_fault_that_it_was(
    alone: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollin.gateway.conversations.AT_ONCE", 1)
    alone.student.script = lambda request: InfrastructureFault("gone") if request.trajectory == "1" else "ls"
    with pytest.raises(openai.InternalServerError, match="gone"):
        alone.say("plain", [ASK])
    for other in "abc":
        alone.say("plain", [{**ASK, "content": other}])
    ends = [row.exit for row in alone.store.trajectories()]
    assert ends == [Exit.INFRASTRUCTURE_FAULT, None, None, None]


def test_after_a_fault_a_conversation_goes_on_in_another_trajectory(alone: Run) -> None:
    """An agent with the plain key can open no session: an outage would be the end of it."""
    begun = following([ASK], alone.say("plain", [ASK]))
    alone.student.script = lambda request: InfrastructureFault("gone")
    with pytest.raises(openai.InternalServerError, match="gone"):
        alone.say("plain", begun)
    alone.student.script = lambda request: f"{request.trajectory}: {request.turn}"
    assert alone.say("plain", begun) == "2: 0"
    assert alone.say("plain", following(begun, "2: 0")) == "2: 1"
    assert [row.exit for row in alone.store.trajectories()] == [Exit.INFRASTRUCTURE_FAULT, None]
    alone.student.script = lambda request: InfrastructureFault("gone")
    with pytest.raises(openai.InternalServerError, match="gone"):
        alone.say("plain", following(following(begun, "2: 0"), "2: 1"))
    alone.gateway.close()
    assert [row.exit for row in alone.store.trajectories()] == [Exit.INFRASTRUCTURE_FAULT] * 2


def test_a_task_may_have_a_field_of_any_name(alone: Run) -> None:
    root, task = alone.gateway.url.removesuffix("/v1"), {"instance_id": "x", "cls": 1}
    answer = httpx.post(f"{root}/sessions", headers={"Authorization": "Bearer key"}, json={"task": task})
    assert answer.status_code == 201


def test_a_session_is_at_the_address_that_it_was_opened_at(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.db", {}) as store:
        student = ScriptedPolicy("student", lambda request: "ls")
        standing = Standing(Host(store, Student(), {Actor.STUDENT: student}, None), "key", "plain")
        with Gateway(store, host="0.0.0.0", standing=standing) as gateway:
            port = urlsplit(gateway.url).port
            assert gateway.url == f"http://{gethostname()}:{port}/v1"
            opened = httpx.post(
                f"http://127.0.0.1:{port}/sessions", headers={"Authorization": "Bearer key"}, json={"task": "x"}
            ).json()
            assert opened["base_url"] == f"http://127.0.0.1:{port}/v1"
            assert openai.OpenAI(base_url=opened["base_url"], api_key=opened["key"]).models.list().data
