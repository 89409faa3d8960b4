"""OpenAI's Responses through the gateway, with the official client and mini-swe-agent's own model for them."""

import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from gateway_room import Run
from minisweagent.agents.default import DefaultAgent
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.litellm_response_model import LitellmResponseModel
from openai.types.responses import Response, ResponseFunctionToolCall

from rollin.messages import Function, ToolCall, offered
from rollin.mixture import Constant, Student, TurnMixture
from rollin.policies.base import Action

TEACHER = TurnMixture(beta=Constant(value=1.0))
PARAMETERS = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
BASH: Any = {"type": "function", "name": "bash", "description": "Run a command.", "parameters": PARAMETERS}


BETWEEN = ("prompt_cache_options", "context_management", "moderation")
"""Fields that are between an agent and its provider."""


def calling(*commands: str, words: str = "") -> Action:
    functions = [Function(name="bash", arguments=json.dumps({"command": command})) for command in commands]
    calls = [ToolCall(id=f"call_{n}", type="function", function=function) for n, function in enumerate(functions)]
    return Action(words, tool_calls=calls, prompt_tokens=5, completion_tokens=2)


@pytest.fixture(params=["student", "teacher"])
def client(run: Run, request: pytest.FixtureRequest) -> openai.OpenAI:
    return run.client(run.gateway.open_session(run.spec(roll_in=Student() if request.param == "student" else TEACHER)))


def both_say(run: Run, *said: Action) -> None:
    run.student.script = run.teacher.script = lambda request: said[request.turn]


def post(client: openai.OpenAI, body: Any) -> httpx.Response:
    """A call that the official client would not make."""
    headers = {"Authorization": f"Bearer {client.api_key}"}
    return httpx.post(f"{client.base_url}responses", content=json.dumps(body), headers=headers)


def test_words_calls_and_results(run: Run, client: openai.OpenAI) -> None:
    both_say(run, calling("ls", "pwd", words="Look."), Action("done"))
    first = client.responses.create(model="m", instructions="You repair.", input="repair it", tools=[BASH])
    assert (first.output_text, first.status) == ("Look.", "completed")
    calls = [item for item in first.output if isinstance(item, ResponseFunctionToolCall)]
    assert [json.loads(call.arguments)["command"] for call in calls] == ["ls", "pwd"]
    assert first.usage is not None
    assert first.usage.total_tokens == 7
    outputs = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"saw {call.name}"} for call in calls
    ]
    history: Any = [{"role": "user", "content": "repair it"}, *(item.model_dump() for item in first.output), *outputs]
    second = client.responses.create(model="m", instructions="You repair.", input=history, tools=[BASH])
    assert second.output_text == "done"
    run.gateway.await_labels()
    turns = run.store.turns(1)
    assert all(turn.label.agrees(turn.action) for turn in turns)
    tools, state = offered(run.store.state_messages(turns[1].state_id))
    function = {"name": "bash", "description": "Run a command.", "parameters": PARAMETERS}
    assert tools == [{"type": "function", "function": function}]
    assert state == [
        {"role": "system", "content": "You repair."},
        {"role": "user", "content": "repair it"},
        turns[0].action.message,
        {"role": "tool", "content": "saw bash", "tool_call_id": "call_0"},
        {"role": "tool", "content": "saw bash", "tool_call_id": "call_1"},
    ]


@pytest.mark.parametrize(
    "said", [Action("all is well, " * 9), calling("ls -la /some/where", words="Look."), Action("")]
)
def test_a_stream_adds_up_to_the_response(run: Run, client: openai.OpenAI, said: Action) -> None:
    both_say(run, said)
    with client.responses.stream(model="m", input="repair it", tools=[BASH]) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    again = client.responses.create(model="m", input="repair it", tools=[BASH])
    assert streamed.output_text == again.output_text == said.content
    assert [item.id for item in streamed.output] == [item.id for item in again.output]
    assert len(run.store.turns(1)) == 1, "the same call again is no second turn"


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_what_was_cut_is_incomplete(run: Run, client: openai.OpenAI, finish: str, reason: str) -> None:
    both_say(run, Action("I was about to", finish_reason=finish))
    response = client.responses.create(model="m", input="go on")
    assert response.status == "incomplete"
    assert response.incomplete_details
    assert response.incomplete_details.reason == reason
    raw = post(client, {"model": "m", "input": "go on", "stream": True}).text
    assert raw.splitlines()[-3] == "event: response.incomplete"


def test_what_else_is_asked_goes_on_by_the_names_of_chat_completions(run: Run, client: openai.OpenAI) -> None:
    both_say(run, Action("{}"))
    client.responses.create(
        model="m",
        input=[{"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]}, {"type": "reasoning"}],  # type: ignore[list-item,typeddict-item]
        tools=[BASH],
        tool_choice={"type": "function", "name": "bash"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
        reasoning={"effort": "low"},
        parallel_tool_calls=False,
        temperature=2,
        max_output_tokens=9,
        store=False,
        stream_options={"include_obfuscation": False},
        prompt_cache_retention="24h",
        extra_body={"stop": ["\n"], "max_tokens": 3, "seed": 4} | dict.fromkeys(BETWEEN, "x"),
    )
    run.gateway.await_labels()
    (request, *_) = [*run.student.requests, *run.teacher.requests]
    assert request.asked == {
        "tool_choice": {"type": "function", "function": {"name": "bash"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "reasoning_effort": "low",
        "verbosity": "low",
        "parallel_tool_calls": False,
        "stop": ["\n"],
    }
    assert offered(request.messages)[1] == [{"role": "developer", "content": "Be brief."}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input": "hello", "previous_response_id": "resp_1"}, "send the whole conversation as input"),
        ({"input": "hello", "prompt": {"id": "pmpt_1"}}, "send instructions and input"),
        ({"input": []}, "input: List should have at least 1 item"),
        ({}, "input: Field required"),
        ({"input": [{"type": "function_call", "name": "bash", "arguments": "{}"}]}, "input.0.function_call.call_id"),
        ({"input": [{"type": "computer_call"}]}, "input.0: Input tag 'computer_call'"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "no images or sound"),
        ({"input": "hello", "tools": [{"type": "web_search"}]}, "tools.0"),
        ({"input": [{"type": "reasoning"}]}, "nothing to answer"),
        ([], "Input should be"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_sentence(run: Run, body: Any, message: str) -> None:
    client = run.client(run.gateway.open_session(run.spec()))
    answer = post(client, body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert run.store.turns(1) == []


def test_half_a_surrogate_pair_becomes_a_question_mark(run: Run) -> None:
    client = run.client(run.gateway.open_session(run.spec()))
    function = {"type": "function", "name": "b", "description": "\ud800"}
    answer = post(client, {"input": "a\ud800", "instructions": "\udfff", "tools": [function]})
    Response.model_validate(answer.json())
    tools, state = offered(run.store.state_messages(run.store.turns(1)[0].state_id))
    assert [message["content"] for message in state] == ["?", "a?"]
    assert tools[0]["function"]["description"] == "?"


def test_mini_swe_agents_own_model_for_responses(run: Run, tmp_path: Path) -> None:
    """Its agent, environment and model as installed; only the URL and the key are ours."""
    both_say(
        run,
        calling("echo 3 > here", words="Write it."),
        Action("I forgot to call a tool."),
        calling("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; cat here"),
    )
    key = run.gateway.open_session(run.spec())
    kwargs = {"api_base": run.gateway.url, "api_key": key}
    model = LitellmResponseModel(model_name="openai/any", model_kwargs=kwargs, cost_tracking="ignore_errors")
    agent = DefaultAgent(
        model,
        LocalEnvironment(cwd=str(tmp_path)),
        system_template="You repair.",
        instance_template="{{ task }}",
        step_limit=5,
    )
    assert agent.run("repair it") == {"exit_status": "Submitted", "submission": "3\n"}
    run.gateway.await_labels()
    turns = run.store.turns(1)
    assert [turn.action.content for turn in turns] == ["Write it.", "I forgot to call a tool.", ""]
    roles = [message["role"] for message in run.store.state_messages(turns[2].state_id)]
    assert roles == ["tools", "system", "user", "assistant", "tool", "user"], "it leaves out what called no tool"


@pytest.mark.parametrize(
    "more", [{"text": {"format": "json"}}, {"tool_choice": {"type": "allowed_tools"}}, {"reasoning": {}}]
)
def test_odd_but_legal_requests_are_served(run: Run, more: Any) -> None:
    client = run.client(run.gateway.open_session(run.spec()))
    assert post(client, {"input": "hello"} | more).status_code == 200
