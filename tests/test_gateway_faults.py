"""What breaks around a gateway: upstreams that reset, a teacher that is away, the gateway itself killed."""

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from endpoint_room import completion, error, server
from gateway_room import HTTP, Run
from rich.console import Console
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rollin.errors import Refused
from rollin.mixture import Actor, Student
from rollin.policies.endpoint import EndpointPolicy
from rollin.progress import ConsoleReporter
from rollin.serving import Model, fill_in
from rollin.store import Exit, LabelStatus, Store


class Upstream:
    """A server, by sockets, so that it can break where servers do. `resets` answers are cut off in the middle."""

    def __init__(self, port: int = 0, resets: int = 0) -> None:
        self.resets = resets
        self.asked: list[dict[str, object]] = []
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            length = 0
            for line in iter(stream.readline, b"\r\n"):
                if not line:
                    return
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            self.asked.append(json.loads(stream.read(length)))
            body = json.dumps(completion(f"turn {len(self.asked)}")).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
            self.resets -= 1
            connection.sendall(body[:20] if self.resets >= 0 else body)


@contextmanager
def serving(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`rollin serve` in a process of its own: (the process, its root URL, the key that opens sessions)."""
    command = [sys.executable, "-m", "rollin", "serve", "--port", "0", "--out", str(directory), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        shown = next(line for line in process.stdout if "/sessions" in line)
        (url,), (key,) = re.findall(r"(http://\S+)/sessions", shown), re.findall(r"Bearer ([\w-]+)", shown)
        yield process, url, key
        process.kill()


def test_an_answer_that_breaks_off_is_asked_for_again(run: Run) -> None:
    upstream = Upstream(resets=2)
    student = EndpointPolicy(upstream.url, "m")
    spec = run.spec(roll_in=Student())
    spec = type(spec)(spec.trajectory, spec.task, spec.roll_in, {Actor.STUDENT: student}, None)
    key = run.gateway.open_session(spec)
    assert run.converse(key, 2) == ["turn 3", "turn 4"]
    assert [turn.action.content for turn in run.store.turns(1)] == ["turn 3", "turn 4"]
    upstream.resets = 9
    student._retries = 1
    with pytest.raises(openai.APIStatusError) as caught:
        run.say(key, [{"role": "user", "content": "and now?"}])
    assert caught.value.code == "infrastructure_fault"
    assert len(run.store.turns(1)) == 2, "what broke off is no turn"
    report = run.gateway.close_session(key)
    assert report.fault is not None
    run.gateway.run(student.close())
    upstream.close()


def test_an_agent_whose_terms_are_refused_may_ask_otherwise(run: Run) -> None:
    """The server's sentence reaches it; only where it then says no more, the trajectory doesn't count."""

    async def answer(request: Request) -> Response:
        refused = "response_format" in await request.json()
        return error(400, "no json_schema here") if refused else JSONResponse(completion("ls"))

    spec = run.spec(roll_in=Student())
    with server(answer) as url:
        student = EndpointPolicy(url, "m")
        spec = type(spec)(spec.trajectory, spec.task, spec.roll_in, {Actor.STUDENT: student}, None)
        key = run.gateway.open_session(spec)
        ask: Any = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        create = run.client(key).chat.completions.create
        for _ in range(2):
            with pytest.raises(openai.BadRequestError, match="no json_schema here"):
                create(**ask, response_format={"type": "json_schema", "json_schema": {"name": "n"}})
        (session,) = run.gateway._sessions.values()
        assert "no json_schema here" in (session.report().fault or "")
        assert create(**ask).choices[0].message.content == "ls"
        report = run.gateway.close_session(key)
        run.gateway.run(student.close())
    assert (report.turns, report.fault) == (1, None)


def test_a_label_that_the_teacher_refuses_is_asked_for_once(run: Run) -> None:
    run.teacher.script = lambda request: Refused("no json_schema here")
    run.converse(run.gateway.open_session(run.spec(roll_in=Student())), 1)
    assert run.gateway.await_labels().missing == 1
    assert len(run.teacher.requests) == 1


def test_a_teacher_that_is_away_costs_time_and_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = Upstream(), Upstream()
    options = ["--student", student.url, "--student-model", "s", "--teacher", teacher.url, "--teacher-model", "t"]
    with serving(tmp_path / "run", *options) as (process, url, key):
        headers = {"Authorization": f"Bearer {key}"}
        opened = httpx.post(f"{url}/sessions", headers=headers, json={"task": "mine"}).json()
        teacher.close()
        client = openai.OpenAI(base_url=opened["base_url"], api_key=opened["key"], http_client=HTTP)
        message = {"role": "user", "content": "x"}
        client.chat.completions.create(model="m", messages=[message], stop=["###"], logprobs=True)  # type: ignore[list-item]
        assert httpx.post(f"{url}/sessions/1/end", headers=headers, json={}).json()["exit"] == Exit.SUBMITTED
        process.kill()
    with Store.read(tmp_path / "run" / "run.db") as store:
        (turn,) = store.turns(1)
        assert (turn.action.content, turn.label.status) == ("turn 2", LabelStatus.PENDING)
    back = Upstream(teacher.port)
    counts = fill_in(tmp_path / "run", Model(back.url, "t"), ConsoleReporter(Console(quiet=True)))
    assert counts[LabelStatus.READY] == 1
    assert back.asked[-1]["stop"] == ["###"], "on the agent's own terms"
    assert "logprobs" not in back.asked[-1], "but for what is of the action alone"
    assert len(student.asked) == 2, "the check and the turn: who acted is not asked again"
    for each in (student, back):
        each.close()


def test_what_was_recorded_without_a_teacher_is_labelled_later(run: Run, tmp_path: Path) -> None:
    """But for an evaluation."""
    specs = [run.spec(attempt, labelled=False, roll_in=Student()) for attempt in (0, 1)]
    for spec in specs:
        run.converse(run.gateway.open_session(spec), 2)
    with run.store._transaction() as db:
        db.execute("UPDATE trajectories SET purpose = 'eval' WHERE id = 2")
    run.gateway.close()
    run.store.close()
    teacher = Upstream()
    counts = fill_in(tmp_path, Model(teacher.url, "t"), ConsoleReporter(Console(quiet=True)))
    assert (counts[LabelStatus.READY], counts[LabelStatus.NOT_WANTED]) == (2, 0)
    teacher.close()
    with Store.read(tmp_path / "run.db") as store:
        assert {turn.label.status for turn in store.turns(2)} == {LabelStatus.NOT_WANTED}


def test_long_records_are_labelled_a_few_trajectories_at_a_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollin.serving.AT_ONCE", 2)
    for attempt in range(5):
        run.converse(run.gateway.open_session(run.spec(attempt, labelled=False, roll_in=Student())), 2)
    run.gateway.close()
    run.store.close()
    teacher = Upstream()
    counts = fill_in(tmp_path, Model(teacher.url, "t"), ConsoleReporter(Console(quiet=True)))
    assert (counts[LabelStatus.READY], sum(counts.values())) == (10, 10)
    states = [json.dumps(body["messages"]) for body in teacher.asked]
    assert len(states) - 10 in (0, 1), "each state once, beside the check"
    teacher.close()


def test_a_killed_gateway_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 between two turns; the agent begins again, and repeats what it had done."""
    student = Upstream()
    options = ["--student", student.url, "--student-model", "s"]
    said: list[str] = []
    for turns in (2, 3):
        with serving(tmp_path / "run", *options) as (process, url, key):
            headers = {"Authorization": f"Bearer {key}"}
            opened = httpx.post(f"{url}/sessions", headers=headers, json={"task": "mine"}).json()
            assert opened["trajectory"] == 1
            client = openai.OpenAI(base_url=opened["base_url"], api_key=opened["key"], http_client=HTTP)
            messages: list[dict[str, str]] = [{"role": "user", "content": "begin"}]
            said = []
            for turn in range(turns):
                answer = client.chat.completions.create(model="m", messages=messages)  # type: ignore[arg-type]
                said.append(answer.choices[0].message.content or "")
                messages += [{"role": "assistant", "content": said[-1]}, {"role": "user", "content": f"saw {turn}"}]
            process.kill()
    assert said == ["turn 2", "turn 3", "turn 5"], "the second gateway's check was the fourth question"
    with Store.read(tmp_path / "run" / "run.db") as store:
        assert [turn.action.content for turn in store.turns(1)] == said
