"""A gateway that stands by itself: sessions over HTTP, the plain key, labels that are filled in later. Real models."""

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
from gateway_room import HTTP
from rich.console import Console
from test_endpoint import served  # noqa: F401 - a fixture

from rollin.errors import UserError
from rollin.mixture import Constant, Student, Teacher, TurnMixture
from rollin.policies.base import Sampling
from rollin.progress import ConsoleReporter
from rollin.serving import Model, Server, fill_in, mixture, serving
from rollin.store import Exit, LabelStatus, Store

ASK = {"role": "user", "content": "Which commit broke it?"}
SHORT = Sampling(temperature=0.7, max_tokens=6)


@pytest.fixture
def server(tiny_directory: Path, tmp_path: Path) -> Iterator[Server]:
    model = Model(str(tiny_directory), sampling=SHORT)
    with serving(model, model, mixture("student"), tmp_path / "run") as up:
        yield up


def post(server: Server, path: str, body: object, key: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {server.key if key is None else key}"}
    return httpx.post(server.gateway.url.removesuffix("/v1") + path, json=body, headers=headers)


def hears_ctrl_c() -> None:
    """In a new process. Where the tests run in a shell's background, they inherit that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
    assert post(server, "/sessions", {"task": "mine"}).status_code == 201
    refused = post(server, "/sessions", {"task": "mine"})
    assert refused.status_code == 409
    assert "another attempt" in refused.json()["error"]["message"]


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


def test_a_served_model_stands_behind_a_session(served: tuple[str, str], tmp_path: Path) -> None:  # noqa: F811
    url, name = served
    with serving(Model(url, name, sampling=SHORT), None, Student(), tmp_path) as server:
        say(server, server.plain_key, [ASK])
        assert [turn.label.status for turn in server.store.turns(1)] == [LabelStatus.NOT_WANTED]


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


def test_serve_and_label_from_the_command_line(tiny_directory: Path, tmp_path: Path) -> None:
    """Recorded without a teacher's labels, because none was there; they come later."""
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
    with subprocess.Popen(
        [*serve, "--teacher", str(tiny_directory)], stdout=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c
    ) as process:
        assert process.stdout
        shown = next(line for line in process.stdout if "OPENAI_BASE_URL" in line)
        url, key = re.findall(r"=(\S+)", shown)
        client = openai.OpenAI(base_url=url, api_key=key, http_client=HTTP)
        client.chat.completions.create(model="m", messages=[ASK])  # type: ignore[list-item]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    with Store.resume(directory / "run.db") as store, store._transaction() as db:
        db.execute("UPDATE turns SET label = NULL, label_source = NULL, label_status = 'missing'")
    label = [*rollin, "label", str(directory), "--teacher", str(tiny_directory), "--max-tokens", "6"]
    assert "ready: 1" in subprocess.run(label, capture_output=True, text=True, check=True).stdout
    assert (
        "conversation"
        in subprocess.run([*rollin, "show", str(directory)], capture_output=True, text=True, check=True).stdout
    )
    assert fill_in(directory, Model(str(tiny_directory)), ConsoleReporter(Console(quiet=True)))[LabelStatus.READY] == 1
