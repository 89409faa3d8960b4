"""A server in trouble, or of other habits: what is tried again, what is left out, what is a fault."""

import asyncio
import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from endpoint_room import asking, completion, error, question, server
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from rollin.errors import ContextOverflow, InfrastructureFault, Refused, UserError
from rollin.policies.endpoint import EndpointPolicy, Post, backoff


def test_a_server_in_trouble_is_asked_again() -> None:
    asked = []

    async def tired(request: HttpRequest) -> Response:
        asked.append(await request.json())
        return JSONResponse(completion()) if len(asked) == 3 else error(503 if len(asked) == 1 else 429, "busy")

    with server(tired) as url:
        policy = EndpointPolicy(url, "m", retries=2)
        assert asking(policy, lambda: policy.act(question()))[0].content == "ls"
        asked.clear()
        policy = EndpointPolicy(url, "m", retries=1)
        with pytest.raises(InfrastructureFault, match="busy"):
            asking(policy, lambda: policy.act(question()))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 501, 520, 599])
def test_what_another_try_may_mend_is_tried_again(status: int) -> None:
    answers = [error(status, "busy"), JSONResponse(completion())]

    async def tired(request: HttpRequest) -> Response:
        return answers.pop(0)

    with server(tired) as url:
        policy = EndpointPolicy(url, "m", retries=1)
        assert asking(policy, lambda: policy.act(question()))[0].content == "ls"


def test_a_server_that_was_gone_is_restored_before_it_is_asked_again_when_nothing_is_under_way() -> None:
    events = list[str]()

    async def answer(request: HttpRequest) -> Response:
        [message] = (await request.json())["messages"]
        if "down" in message["content"] and not events.count("restored"):
            return error(503, "no engine")
        events.append(f"{message['content']} begins")
        await asyncio.sleep(1.0 if message["content"] == "slow" else 0.0)
        events.append(f"{message['content']} ends")
        return JSONResponse(completion())

    async def restore(base_url: str, post: Post) -> None:
        assert await post("/v1/chat/completions", {"messages": [{"content": "restoring"}]})
        events.append("restored")

    async def work(policy: EndpointPolicy) -> None:
        asked = [policy.act(question(text)) for text in ("slow", "down", "down too")]
        await asyncio.gather(*asked)

    with server(answer) as url:
        policy = EndpointPolicy(url, "m", retries=3, restore=restore)
        asking(policy, lambda: work(policy))
    begun = [event for event in events if "down" not in event]
    assert begun == ["slow begins", "slow ends", "restoring begins", "restoring ends", "restored"]
    assert sorted(events[5:]) == ["down begins", "down ends", "down too begins", "down too ends"]


def test_a_server_that_can_not_be_restored_is_not_asked() -> None:
    asked = []

    async def answer(request: HttpRequest) -> Response:
        asked.append(request.url.path)
        return error(502, "starting")

    async def restore(base_url: str, post: Post) -> None:
        await post("/load", {})

    with server(answer) as url:
        policy = EndpointPolicy(url, "m", retries=2, restore=restore)
        with pytest.raises(InfrastructureFault, match=r"m at .* /load failed \(404\)"):
            asking(policy, lambda: policy.act(question()))
    assert len(asked) == 1


class Reasoning:
    """A server that refuses fields as OpenAI's reasoning models do, one at a time."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.asked: list[dict[str, Any]] = []

    async def answer(self, request: HttpRequest) -> Response:
        body = await request.json()
        self.asked.append(body)
        for field in self.refused:
            if field in body:
                code = "unsupported_value" if field == "temperature" else "unsupported_parameter"
                return error(400, f"'{field}' is not supported with this model.", code, field)
        return JSONResponse(completion())


def test_what_a_model_does_not_take_is_left_out_from_then_on() -> None:
    model = Reasoning("max_tokens", "temperature", "top_p", "stop")
    with server(model.answer) as url:
        policy = EndpointPolicy(url, "m")
        asking(policy, policy.check)
        assert len(model.asked) == 4
        assert model.asked[-1].keys() == {"model", "messages", "seed", "max_completion_tokens"}
        model.asked.clear()
        stopped = replace(question(), asked={"stop": ["\n"]})
        began = time.monotonic()
        first, second = asking(policy, lambda: policy.act(stopped), lambda: policy.act(stopped))
        assert time.monotonic() - began < 0.25, "it was not asked again at once"
    assert first.content == second.content == "ls"
    assert ["stop" in body for body in model.asked] == [True, False, False]
    assert {body["max_completion_tokens"] for body in model.asked} == {8}


def test_a_value_that_an_agent_asks_for_is_refused_to_it_alone() -> None:
    asked = []

    async def particular(request: HttpRequest) -> Response:
        body = await request.json()
        asked.append(body)
        refused = body.get("reasoning_effort") == "minimal"
        message = "'reasoning_effort' does not support 'minimal'."
        return error(400, message, "unsupported_value", "reasoning_effort") if refused else JSONResponse(completion())

    with server(particular) as url:
        policy = EndpointPolicy(url, "m")
        minimal, low = (replace(question(), asked={"reasoning_effort": effort}) for effort in ("minimal", "low"))
        with pytest.raises(Refused, match="does not support 'minimal'"):
            asking(policy, lambda: policy.act(minimal))
        asking(policy, lambda: policy.act(low))
    assert [body["reasoning_effort"] for body in asked] == ["minimal", "low"]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_of_the_key_or_the_model_is_not_one_of_the_question(status: int) -> None:
    async def closed(request: HttpRequest) -> Response:
        return error(status, "no")

    with server(closed) as url:
        policy = EndpointPolicy(url, "m")
        with pytest.raises(InfrastructureFault) as caught:
            asking(policy, lambda: policy.act(question()))
    assert not isinstance(caught.value, Refused)


def test_the_newer_name_may_be_refused_too() -> None:
    model = Reasoning("max_tokens", "max_completion_tokens")
    with server(model.answer) as url:
        policy = EndpointPolicy(url, "m")
        asking(policy, lambda: policy.act(question()))
    assert model.asked[-1].keys() == {"model", "messages", "seed", "temperature", "top_p"}


@pytest.mark.parametrize("field", ["messages", "tools"])
def test_without_its_question_a_model_is_not_asked(field: str) -> None:
    model = Reasoning(field)
    asked = question()
    asked.messages.insert(0, {"role": "tools", "content": '[{"type": "function", "function": {"name": "bash"}}]'})
    with server(model.answer) as url:
        policy = EndpointPolicy(url, "m")
        with pytest.raises(InfrastructureFault, match=f"'{field}' is not supported"):
            asking(policy, lambda: policy.act(asked))
    assert len(model.asked) == 1


def test_the_check_sends_what_is_sent_later() -> None:
    asked = []

    async def listening(request: HttpRequest) -> Response:
        asked.append(await request.json())
        return JSONResponse(completion())

    with server(listening) as url:
        policy = EndpointPolicy(url, "m", extra={"reasoning_effort": "low"})
        asking(policy, policy.check, lambda: policy.act(question()))
    assert asked[0].keys() == asked[1].keys()


def test_reasoning_that_took_the_whole_limit_is_an_empty_action_that_was_cut() -> None:
    async def thinking(request: HttpRequest) -> Response:
        return error(400, "Could not finish the message because max_tokens or model output limit was reached.")

    with server(thinking) as url:
        policy = EndpointPolicy(url, "m")
        _, action = asking(policy, policy.check, lambda: policy.act(question()))
    assert (action.content, action.finish_reason) == ("", "length")


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        *(("stop", "stop"), (None, "stop"), ("tool_calls", "stop"), ("function_call", "stop"), ("eos", "stop")),
        *(("length", "length"), ("content_filter", "content_filter")),
    ],
)
def test_why_an_answer_ended_is_kept(said: str | None, finish: str) -> None:
    async def answer(request: HttpRequest) -> Response:
        return JSONResponse(completion(finish_reason=said))

    with server(answer) as url:
        policy = EndpointPolicy(url, "m")
        assert asking(policy, lambda: policy.act(question()))[0].finish_reason == finish


@pytest.mark.parametrize("said", ["error", "abort", "insufficient_system_resource"])
def test_an_answer_that_the_server_broke_off_is_asked_for_again_and_then_a_fault(said: str) -> None:
    answers = [completion("rm -", finish_reason=said), completion("rm -i x"), *[completion(finish_reason=said)] * 2]

    async def answer(request: HttpRequest) -> Response:
        return JSONResponse(answers.pop(0))

    with server(answer) as url:
        policy = EndpointPolicy(url, "m", retries=1)
        assert asking(policy, lambda: policy.act(question()))[0].content == "rm -i x"
        with pytest.raises(InfrastructureFault, match=rf"broke off its answer .*{said}"):
            asking(policy, lambda: policy.act(question()))


@pytest.mark.parametrize(
    "refusal",
    [
        {"code": 400, "type": "exceed_context_size_error", "message": "request (4390 tokens) is more than 4096"},
        {"code": 400, "type": "x", "message": "request (4390 tokens) exceeds the available context size (4096 tokens)"},
        {"type": "invalid_request_error", "message": "prompt is too long: 204000 tokens > 200000 maximum"},
        {"message": "The decoder prompt (length 4390) is longer than the maximum model length of 4096."},
        {"message": f"'{'word ' * 100}' exceeds this model's maximum context length"},
    ],
)
def test_a_conversation_that_is_too_long_is_an_overflow_whatever_a_server_calls_it(refusal: dict[str, Any]) -> None:
    async def full(request: HttpRequest) -> Response:
        return JSONResponse({"error": refusal}, 400)

    with server(full) as url:
        policy = EndpointPolicy(url, "m")
        with pytest.raises(ContextOverflow, match=re.escape(str(refusal["message"])[:20])):
            asking(policy, lambda: policy.act(question()))


def test_a_server_that_falls_silent_is_a_fault() -> None:
    async def silent(request: HttpRequest) -> Response:
        await asyncio.sleep(1)
        return JSONResponse(completion())

    with server(silent) as url:
        policy = EndpointPolicy(url, "m", seconds=0.2, retries=0)
        with pytest.raises(InfrastructureFault, match=r"no answer within 0 s"):
            asking(policy, lambda: policy.act(question()))


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_in_trouble_is_checked_again_and_then_a_fault(status: int) -> None:
    """There is nothing to mend in the settings."""
    busy = JSONResponse({"error": {"message": "busy"}}, status, {"Retry-After": "0"})
    answers: list[Response] = [busy, busy, JSONResponse(completion()), *[busy] * 9]

    async def tired(request: HttpRequest) -> Response:
        return answers.pop(0)

    with server(tired) as url:
        policy = EndpointPolicy(url, "m", retries=0)
        asking(policy, policy.check)
        with pytest.raises(InfrastructureFault, match=rf"{status}.*busy"):
            asking(policy, policy.check)
    assert len(answers) == 5


@pytest.mark.parametrize("url", ["http://[::1", "http://[nowhere]/v1"])
def test_a_url_that_is_none_is_said(url: str) -> None:
    with pytest.raises(UserError, match=r"the base URL .* is none"):
        EndpointPolicy(url, "m")


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(UserError, match=r"^the base URL of host holds a name or a password") as refused:
        EndpointPolicy("http://me:planted@host/v1", "m")
    assert "planted" not in str(refused.value)


def test_a_key_with_a_line_break_inside_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLIN_TEST_KEY", "sec\nret")
    with pytest.raises(UserError, match="the key in ROLLIN_TEST_KEY holds a line break"):
        EndpointPolicy("http://host/v1", "m", api_key_env="ROLLIN_TEST_KEY")


@pytest.mark.parametrize(("asked", "least", "most"), [(None, 0.25, 0.5), (0, 0.25, 0.5), (5, 5.25, 5.5), (1e9, 60, 61)])
def test_a_pause_is_what_the_server_asks_for_and_a_little_at_random(
    asked: float | None, least: float, most: float
) -> None:
    assert all(least <= backoff(0, asked) <= most for _ in range(20))
    assert backoff(3, asked) >= 8 * 0.25


def test_what_servers_write_otherwise_is_read() -> None:
    """Words in parts, a call without an id or arguments, half a character, and a log-probability that JSON has not."""
    function = {"name": "bash", "arguments": None}
    message = {"content": [{"type": "text", "text": "l"}, {"type": "text", "text": "s \ud83d"}]}
    message |= {"tool_calls": [{"function": function}, {"id": "", "function": function}]}
    token = {"token": "l", "logprob": float("-inf"), "top_logprobs": [{"token": "x", "logprob": float("-inf")}]}
    body = completion(message=message, logprobs={"content": [token]})

    async def answer(request: HttpRequest) -> Response:
        return PlainTextResponse(json.dumps(body))

    with server(answer) as url:
        policy = EndpointPolicy(url, "m", retries=0)
        asked = replace(question(), asked={"logprobs": True})
        (action,) = asking(policy, lambda: policy.act(asked))
    assert action.content == "ls ?"
    first, second = action.tool_calls
    assert first["function"]["arguments"] == "{}"
    assert first["id"] != second["id"]
    assert action.logprobs_answered is not None
    (said,) = action.logprobs_answered
    assert said == token | {"logprob": -9999.0, "top_logprobs": [{"token": "x", "logprob": -9999.0}]}


def test_a_key_has_no_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it has where it was read from a file."""

    async def answer(request: HttpRequest) -> Response:
        return JSONResponse(completion(request.headers["authorization"]))

    monkeypatch.setenv("ROLLIN_TEST_KEY", " secret\n")
    with server(answer) as url:
        policy = EndpointPolicy(url, "m", api_key_env="ROLLIN_TEST_KEY")
        assert asking(policy, lambda: policy.act(question()))[0].content == "Bearer secret"


@pytest.mark.parametrize(
    ("nonsense", "why"),
    [
        (PlainTextResponse("<html>hello"), "no JSON object"),
        (JSONResponse({"choices": []}), "choices: List"),
    ],
)
def test_an_answer_that_is_no_completion_is_asked_for_again_and_then_a_fault(nonsense: Response, why: str) -> None:
    """Once more only, for it may be paid for; and not by the check: there the URL is to be doubted."""
    answers: list[Response] = []

    async def odd(request: HttpRequest) -> Response:
        return answers.pop(0)

    with server(odd) as url:
        policy = EndpointPolicy(url, "m", retries=5)
        answers += [nonsense, JSONResponse(completion())]
        assert asking(policy, lambda: policy.act(question()))[0].content == "ls"
        answers += [nonsense, nonsense]
        with pytest.raises(InfrastructureFault, match=rf"{url} .* that is no chat completion \({why}"):
            asking(policy, lambda: policy.act(question()))
        answers += [nonsense]
        with pytest.raises(UserError, match=r"no chat completion \(.*\); check that the URL is an API's base URL"):
            asking(policy, policy.check)
        assert answers == []
