"""A gateway that stands by itself: sessions over HTTP, the plain key, labels that are filled in later. Real models."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from endpoint_room import completion, error
from endpoint_room import server as endpoint
from gateway_room import HTTP
from rich.console import Console
from scripted import hears_ctrl_c, make_task
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from test_endpoint import served  # noqa: F401 - a fixture

from rollin.errors import UserError
from rollin.mixture import Actor, Student
from rollin.policies.base import Action, Request, Sampling
from rollin.progress import ConsoleReporter
from rollin.runs import resume
from rollin.serving import Model, Server, fill_in, mixture, serving
from rollin.store import Exit, Label, LabelStatus, Purpose, State, Store

ASK = {"role": "user", "content": "Which commit broke it?"}
SHORT = Sampling(temperature=0.7, max_tokens=6)


@pytest.fixture
def server(tiny_directory: Path, brief_directory: Path, tmp_path: Path) -> Iterator[Server]:
    """The teacher comes to an end with what it says, the student does not."""
    student, teacher = (Model(str(directory), sampling=SHORT) for directory in (tiny_directory, brief_directory))
    with serving(student, teacher, mixture("student"), tmp_path / "run") as up:
        yield up


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


def test_what_was_served_is_not_resumed(tmp_path: Path) -> None:
    Store.create(tmp_path / "run.db", {"name": "serve"}).close()
    with pytest.raises(UserError, match=r"is no run of a recipe.*repeat that command"):
        resume(tmp_path, ConsoleReporter(Console(quiet=True)))


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
        ("/sessions", {"task": "x", "purpose": "eval"}, 400, "purpose"),
        ("/sessions", {"task": {"instance_id": "x", "FAIL_TO_PASS": "[" * 10_000}}, 400, "nested too deeply"),
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


def test_of_many_conversations_the_latest_are_remembered(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollin.gateway.conversations.AT_ONCE", 2)
    first, second = (say(server, server.plain_key, [{**ASK, "content": each}]) for each in "ab")
    first = say(server, server.plain_key, first)
    say(server, server.plain_key, [{**ASK, "content": "c"}])
    say(server, server.plain_key, first)
    say(server, server.plain_key, second)
    rows = server.store.trajectories()
    assert [row.attempt for row in rows] == [0, 1, 2, 3], "the second was forgotten, the first not"
    assert [len(server.store.turns(row.id)) for row in rows] == [3, 1, 1, 1]


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


def test_labels_that_are_still_missing_are_a_fault(tmp_path: Path) -> None:
    """For a script: to label again may help."""
    with Store.create(tmp_path / "run.db", {}) as store:
        store.add_tasks([make_task()])
        store.begin_iteration(1)
        row = store.open_trajectory(
            make_task().instance_id, iteration=1, attempt=0, purpose=Purpose.COLLECT, policy="student", seed=0
        )
        label = Label(LabelStatus.MISSING)
        store.record_turn(row.id, 0, State.of([ASK]), Actor.STUDENT, Action("ls"), label, 0.0)  # type: ignore[list-item]
    asked = []

    async def refusing(request: HttpRequest) -> Response:
        asked.append(request)
        return JSONResponse(completion()) if len(asked) == 1 else error(400, "no")  # the first is the check

    with endpoint(refusing) as url:
        command = ["label", str(tmp_path), "--teacher", url, "--teacher-model", "m"]
        done = subprocess.run([sys.executable, "-m", "rollin.cli", *command], capture_output=True, text=True)
    assert (done.returncode, "missing: 1" in done.stdout) == (3, True)
    assert "1 labels are still missing" in done.stderr
