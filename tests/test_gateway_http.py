"""The gateway as a server: keys, what it refuses and how it says so, faults, metrics."""

import gc
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from gateway_room import HALF, Run, half_a_call
from prometheus_client.parser import text_string_to_metric_families
from scripted import make_task
from transformers import PreTrainedTokenizerBase

from rollin.chat import state_ids
from rollin.errors import ContextOverflow, InfrastructureFault, UserError
from rollin.gateway import Gateway
from rollin.messages import Message, offered, offering
from rollin.mixture import Student
from rollin.policies.base import Action
from rollin.store import Store


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


def test_what_is_loaded_by_then_is_left_out_of_collections_while_it_is_open(tmp_path: Path) -> None:
    before = gc.get_freeze_count()
    with Store.create(tmp_path / "collected.db", {}) as store, Gateway(store):
        assert gc.get_freeze_count() > before
    assert gc.get_freeze_count() == 0


def test_concurrent_trajectories_keep_apart(run: Run) -> None:
    specs = [run.spec(attempt) for attempt in range(8)]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda spec: run.converse(run.gateway.open_session(spec), 6), specs))
    for spec, words in zip(specs, said, strict=True):
        turns = run.store.turns(spec.trajectory.id)
        assert [turn.action.content for turn in turns] == words
        assert words == [f"{HALF.actor(spec.trajectory.draw(k))} {k}" for k in range(6)]


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


def test_an_agent_that_condensed_its_conversation_has_recovered(run: Run) -> None:
    """What it fails by later is another matter."""
    key = run.gateway.open_session(run.spec(roll_in=Student()))
    long, short = ([{"role": "user", "content": "word " * words}] for words in (90, 9))
    run.student.script = lambda request: ContextOverflow("90 words") if request.messages == long else "ls"
    with pytest.raises(openai.BadRequestError):
        run.say(key, long)
    assert run.say(key, short) == "ls"
    assert run.gateway.close_session(key).overflowed is False


def test_token_ids_and_counts_reach_the_store_and_usage_the_harness(run: Run) -> None:
    action = Action("ls", "length", 7, 2, token_ids=[3, 4], logprobs=[-1.0, -0.5])
    run.student.script = lambda request: action
    spec = run.spec(roll_in=Student())
    client = run.client(run.gateway.open_session(spec))
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert answer.usage is not None
    assert (answer.model, answer.choices[0].finish_reason, answer.usage.total_tokens) == ("m", "length", 9)
    assert run.store.turns(spec.trajectory.id)[0].action == action


def test_what_is_between_an_agent_and_its_provider_goes_no_further(run: Run) -> None:
    client = run.client(run.gateway.open_session(run.spec(roll_in=Student())))
    ask: Any = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stop": ["#"], "user": "me"}
    client.chat.completions.create(**ask, extra_body={"prompt_cache_retention": "24h", "moderation": {}})
    assert run.student.requests[0].asked == {"stop": ["#"]}


def test_a_tools_fields_keep_their_order(run: Run, tokenizer: PreTrainedTokenizerBase) -> None:
    """A model reads the first property first: `path` before `content`."""
    properties = {name: {"type": "string", "description": name} for name in ("path", "content", "at")}
    function: Any = {"name": "write", "parameters": {"type": "object", "properties": properties}, "description": "Do."}
    client = run.client(run.gateway.open_session(run.spec(roll_in=Student())))
    ask: Any = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    client.chat.completions.create(**ask, tools=[{"type": "function", "function": function}])
    tools, _ = offered(run.store.state_messages(run.store.turns(1)[0].state_id))
    assert json.dumps(tools[0]["function"]) == json.dumps(function)
    state: list[Message] = [offering(tools), {"role": "user", "content": "x"}]
    assert json.dumps(function) in tokenizer.decode(state_ids(tokenizer, state))


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


def test_a_key_that_dies_while_a_call_arrives_is_refused(run: Run) -> None:
    key = run.gateway.open_session(run.spec())
    with half_a_call(run.gateway.url, key, [{"role": "user", "content": "x"}]) as rest:
        run.gateway.close_session(key)
        assert rest() == 401


def test_an_unknown_address_has_openais_error_shape(run: Run) -> None:
    assert "Not Found" in httpx.get(f"{run.gateway.url}/nothing").json()["error"]["message"]


def test_a_taken_port_is_said(run: Run) -> None:
    port = int(run.gateway.url.split(":")[2].split("/")[0])
    with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1, port {port}"):
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
