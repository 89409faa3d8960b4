"""A gateway that stands by itself: sessions over HTTP, the plain key, labels that are filled in later. Real models."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from gateway_room import HTTP, Run, half_a_call
from rich.console import Console
from scripted import ScriptedPolicy, hears_ctrl_c, make_task
from test_endpoint import served  # noqa: F401 - a fixture

from rollin.errors import InfrastructureFault, UserError
from rollin.gateway import Gateway, Host, Standing
from rollin.mixture import Actor, Student
from rollin.policies.base import Request, Sampling
from rollin.progress import ConsoleReporter
from rollin.recipe import Recipe
from rollin.runs import _check_demonstrations
from rollin.serving import Model, Server, fill_in, mixture, serving
from rollin.store import Exit, LabelStatus, Store

ASK = {"role": "user", "content": "Which commit broke it?"}
SHORT = Sampling(temperature=0.7, max_tokens=6)


@pytest.fixture
def server(tiny_directory: Path, brief_directory: Path, tmp_path: Path) -> Iterator[Server]:
    """The teacher comes to an end with what it says, the student does not."""
    student, teacher = (Model(str(directory), sampling=SHORT) for directory in (tiny_directory, brief_directory))
    with serving(student, teacher, mixture("student"), tmp_path / "run") as up:
        yield up


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


def post(server: Server, path: str, body: object, key: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {server.key if key is None else key}"}
    return httpx.post(server.gateway.url.removesuffix("/v1") + path, json=body, headers=headers)


def say(server: Server, key: str, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The conversation with the answer and an observation."""
    client = openai.OpenAI(base_url=server.gateway.url, api_key=key, http_client=HTTP)
    answer = client.chat.completions.create(model="m", messages=messages)  # type: ignore[arg-type]
    said = answer.choices[0].message.content or ""
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": "And now?"}]


def test_a_session_is_opened_used_and_ended_over_http(server: Server) -> None:
    task = {"instance_id": "mine-1", "problem_statement": "It fails.", "FAIL_TO_PASS": ["t"]}
    opened = post(server, "/sessions", {"task": task, "attempt": 2, "iteration": 3, "seed": 5})
    assert opened.status_code == 201
    session = opened.json()
    assert session["base_url"] == server.gateway.url
    say(server, session["key"], say(server, session["key"], [ASK]))
    server.gateway.await_labels()
    ended = post(server, f"/sessions/{session['trajectory']}/end", {"resolved": True, "patch": "diff"})
    assert ended.json() == {"trajectory": session["trajectory"], "turns": 2, "exit": "submitted", "fault": None}
    row = server.store.trajectory(session["trajectory"])
    assert (row.instance_id, row.attempt, row.iteration, row.seed) == ("mine-1", 2, 3, 5)
    assert (row.exit, row.resolved, row.patch) == (Exit.SUBMITTED, True, "diff")
    assert server.store.task("mine-1").FAIL_TO_PASS == ["t"]
    assert [turn.label.status for turn in server.store.turns(row.id)] == [LabelStatus.READY] * 2
    with pytest.raises(openai.AuthenticationError):
        say(server, session["key"], [ASK])


def test_a_trajectory_that_was_left_is_gone_on_with(server: Server) -> None:
    """Its turns are replayed: the agent begins again, the model is not asked again."""
    first = post(server, "/sessions", {"task": "mine"}).json()
    history = say(server, first["key"], [ASK])
    post(server, f"/sessions/{first['trajectory']}/end", {"exit": "infrastructure_fault"})
    again = post(server, "/sessions", {"task": "mine"}).json()
    assert again["trajectory"] == first["trajectory"]
    assert say(server, again["key"], [ASK]) == history
    assert len(server.store.turns(first["trajectory"])) == 1
    assert server.store.trajectory(first["trajectory"]).exit is None


def test_a_trajectory_that_has_ended_is_not_opened_again(server: Server) -> None:
    first = post(server, "/sessions", {"task": "mine"}).json()
    post(server, f"/sessions/{first['trajectory']}/end", {"resolved": True})
    refused = post(server, "/sessions", {"task": "mine"})
    assert (refused.status_code, "has ended (submitted)" in refused.json()["error"]["message"]) == (409, True)
    assert server.store.trajectory(first["trajectory"]).resolved is True
    assert post(server, "/sessions", {"task": "mine", "attempt": 1}).status_code == 201


def test_one_trajectory_has_one_session(server: Server) -> None:
    """The later one: an agent that was killed simply starts again."""
    first, again = (post(server, "/sessions", {"task": "mine"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["trajectory"] == again.json()["trajectory"]
    with pytest.raises(openai.AuthenticationError, match="give each agent an attempt of its own"):
        say(server, first.json()["key"], [ASK])
    say(server, again.json()["key"], [ASK])
    assert server.gateway.open_sessions == 1
    assert post(server, "/sessions/1/end", {}).json()["turns"] == 1


@pytest.mark.parametrize("key", ["wrong", "plain"])
def test_only_its_own_key_opens_sessions(server: Server, key: str) -> None:
    assert post(server, "/sessions", {"task": "x"}, server.plain_key if key == "plain" else key).status_code == 401
    assert post(server, "/sessions/1/end", {}, server.plain_key if key == "plain" else key).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/sessions", {}, 400, "task"),
        ("/sessions", {"task": "x", "iteration": 0}, 400, "iteration"),
        ("/sessions", {"task": "x", "tusk": 1}, 400, "tusk"),
        ("/sessions/99/end", {}, 404, "no open session"),
        ("/sessions/1/end", {"exit": "bored"}, 400, "exit"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(server: Server, path: str, body: object, status: int, word: str) -> None:
    answer = post(server, path, body)
    assert (answer.status_code, word in answer.json()["error"]["message"]) == (status, True)


def test_the_key_that_opens_sessions_is_good_for_nothing_else(server: Server) -> None:
    with pytest.raises(openai.AuthenticationError):
        say(server, server.key, [ASK])


def test_conversations_with_the_plain_key_are_told_apart(server: Server) -> None:
    """Two agents take turns, and one of them repeats a call; another begins as the first did."""
    one = say(server, server.plain_key, [ASK])
    other = say(server, server.plain_key, [{"role": "user", "content": "Hello."}])
    longer = say(server, server.plain_key, one)
    assert say(server, server.plain_key, one) == longer
    say(server, server.plain_key, other)
    say(server, server.plain_key, longer)
    turns = {row.id: len(server.store.turns(row.id)) for row in server.store.trajectories()}
    assert turns == {1: 3, 2: 2}
    say(server, server.plain_key, [ASK])
    assert len(server.store.trajectories()) == 3


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


def test_of_many_conversations_the_latest_are_remembered(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollin.gateway.server.CONVERSATIONS", 2)
    first, second = (say(server, server.plain_key, [{**ASK, "content": each}]) for each in "ab")
    first = say(server, server.plain_key, first)
    say(server, server.plain_key, [{**ASK, "content": "c"}])
    say(server, server.plain_key, first)
    say(server, server.plain_key, second)
    rows = server.store.trajectories()
    assert [row.attempt for row in rows] == [0, 1, 2, 3], "the second was forgotten, the first not"
    assert [len(server.store.turns(row.id)) for row in rows] == [3, 1, 1, 1]


def test_a_conversation_is_not_forgotten_while_it_is_answered(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollin.gateway.server.CONVERSATIONS", 1)
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
    monkeypatch.setattr("rollin.gateway.server.CONVERSATIONS", 1)
    alone.student.script = lambda request: InfrastructureFault("gone") if request.trajectory == "1" else "ls"
    with pytest.raises(openai.InternalServerError, match="gone"):
        alone.say("plain", [ASK])
    for other in "abc":
        alone.say("plain", [{**ASK, "content": other}])
    ends = [row.exit for row in alone.store.trajectories()]
    assert ends == [Exit.INFRASTRUCTURE_FAULT, None, None, None]


def test_a_checkpoint_reads_as_much_as_it_can(brief_directory: Path) -> None:
    policy = Model(str(brief_directory)).policy(Actor.STUDENT)
    long = [{"role": "user", "content": "word " * 5000}]
    action = asyncio.run(policy.act(Request(long, "1", 0, 0, Sampling(max_tokens=6))))  # type: ignore[arg-type]
    asyncio.run(policy.close())
    assert (action.content, action.finish_reason) == ("done", "stop")
    assert 5000 < action.prompt_tokens < 8192


def test_a_served_model_stands_behind_a_session(served: tuple[str, str], tmp_path: Path) -> None:  # noqa: F811
    url, name = served
    with serving(Model(url, name, sampling=SHORT), None, Student(), tmp_path) as server:
        say(server, server.plain_key, [ASK])
        assert [turn.label.status for turn in server.store.turns(1)] == [LabelStatus.NOT_WANTED]


def test_what_a_server_lacks_is_said(tiny_directory: Path, tmp_path: Path) -> None:
    student = Model(str(tiny_directory))
    with pytest.raises(UserError, match="needs a teacher"), serving(student, None, mixture("beta=0.5"), tmp_path):
        pass
    with (
        pytest.raises(UserError, match="--teacher-model"),
        serving(student, Model("http://127.0.0.1:9/v1"), mixture("beta=0.5"), tmp_path),
    ):
        pass
    assert not (tmp_path / "run.db").exists()


def test_the_log_has_an_object_for_every_turn(tiny_directory: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rollin", "serve", "--student", str(tiny_directory), "--port", "0"]
    options = ["--max-tokens", "6", "--out", str(tmp_path / "run"), "--teacher", str(tiny_directory)]
    env = os.environ | {"ROLLIN_LOG": "info", "ROLLIN_LOG_FORMAT": "json", "ROLLIN_PLAIN_KEY": "planted-key"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, *options], stdout=pipe, stderr=pipe, text=True, env=env, preexec_fn=hears_ctrl_c
    ) as process:
        assert process.stdout
        shown = next(line for line in process.stdout if "OPENAI_BASE_URL" in line)
        client = openai.OpenAI(base_url=re.findall(r"URL=(\S+)", shown)[0], api_key="planted-key", http_client=HTTP)
        client.chat.completions.create(model="m", messages=[ASK])  # type: ignore[list-item]
        process.send_signal(signal.SIGINT)
        _, logged = process.communicate(timeout=20)
    lines = [json.loads(line) for line in logged.splitlines()]
    (turn,) = [line for line in lines if "actor" in line]
    assert (turn["trajectory"], turn["turn"], turn["actor"], turn["completion_tokens"]) == (1, 0, "student", 6)
    assert "planted-key" not in logged
    assert ASK["content"] not in logged


def test_an_unknown_log_level_is_said() -> None:
    env = os.environ | {"ROLLIN_LOG": "loud"}
    said = subprocess.run(
        [sys.executable, "-m", "rollin", "doctor"], capture_output=True, text=True, env=env, check=False
    )
    assert (said.returncode, "set it to debug" in said.stderr) == (2, True)


def test_serve_and_label_from_the_command_line(tiny_directory: Path, brief_directory: Path, tmp_path: Path) -> None:
    """Recorded without a teacher; the labels come later."""
    rollin, directory = [sys.executable, "-m", "rollin.cli"], tmp_path / "run"
    serve = [
        *rollin,
        "serve",
        "--student",
        str(tiny_directory),
        "--port",
        "0",
        "--max-tokens",
        "6",
        "--out",
        str(directory),
    ]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c) as process:
        assert process.stdout
        shown = next(line for line in process.stdout if "OPENAI_BASE_URL" in line)
        url, key = re.findall(r"=(\S+)", shown)
        client = openai.OpenAI(base_url=url, api_key=key, http_client=HTTP)
        client.chat.completions.create(model="m", messages=[ASK])  # type: ignore[list-item]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    with Store.read(directory / "run.db") as store:
        assert store.turns(1)[0].label.status is LabelStatus.NOT_WANTED
    label = [*rollin, "label", str(directory), "--teacher", str(brief_directory), "--max-tokens", "6"]
    assert "ready: 1" in subprocess.run(label, capture_output=True, text=True, check=True).stdout
    assert (
        "conversation"
        in subprocess.run([*rollin, "show", str(directory)], capture_output=True, text=True, check=True).stdout
    )
    assert fill_in(directory, Model(str(brief_directory)), ConsoleReporter(Console(quiet=True)))[LabelStatus.READY] == 1
