"""OpenAI's Responses on the wire: the turns of chat completions, for agents that speak the newer form.

An agent sends its whole conversation as `input`; nothing is kept between two calls (`previous_response_id` is refused).
What the model said in one turn, its words and its calls, are items of their own here and one message in a state.
"""

import json
import time
from collections.abc import Iterator
from itertools import count
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from starlette.responses import JSONResponse, Response

from rollin.gateway import wire
from rollin.gateway.wire import WireMessage, pieces, streamed
from rollin.messages import Message, Tool, joined, offering
from rollin.policies.base import Action

OURS = wire.OURS | {"max_output_tokens"}
"""What the recipe decides."""
NOT_ASKED = wire.NOT_ASKED | {"background", "include", "max_tool_calls", "top_logprobs", "truncation"}
NOT_ASKED |= {"stream_options", "context_management"}
"""What is no part of the question."""
CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""What cut an action, by the names of chat completions and of Responses."""


class _Said(BaseModel):
    """Somebody's words."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(joined)]

    def message(self) -> dict[str, Any]:
        return {"role": self.role, "content": self.content}


class _Called(BaseModel):
    """A call of the model's."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str

    def message(self) -> dict[str, Any]:
        call = {"id": self.call_id, "function": {"name": self.name, "arguments": self.arguments}}
        return {"role": "assistant", "content": "", "tool_calls": [call]}


class _Returned(BaseModel):
    """What a call gave."""

    type: Literal["function_call_output"]
    call_id: str
    output: Annotated[str, BeforeValidator(joined)]

    def message(self) -> dict[str, Any]:
        return {"role": "tool", "content": self.output, "tool_call_id": self.call_id}


class _Thought(BaseModel):
    """A summary of the model's reasoning. No model here gives one; it is left out."""

    type: Literal["reasoning"]


def _kind(item: object) -> object:
    """What tells items apart. Words may come without a type."""
    return item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", None)


def _items(said: object) -> object:
    """Words alone are the user's."""
    return [{"role": "user", "content": said}] if isinstance(said, str) else said


_Item = Annotated[
    Annotated[_Said, Tag("message")]
    | Annotated[_Called, Tag("function_call")]
    | Annotated[_Returned, Tag("function_call_output")]
    | Annotated[_Thought, Tag("reasoning")],
    Discriminator(_kind),
]


class _FlatTool(BaseModel):
    """A tool, its function's fields beside its type."""

    model_config = ConfigDict(extra="allow")

    type: Literal["function"]
    name: str

    def tool(self) -> Tool:
        return {"type": "function", "function": self.model_dump(exclude={"type"})}


class ResponsesRequest(BaseModel):
    """What a harness sends. Fields that are not named here go on as they are."""

    model_config = ConfigDict(extra="allow")

    input: Annotated[list[_Item], BeforeValidator(_items)] = Field(min_length=1)
    instructions: str | None = None
    model: str = "rollin"
    stream: bool | None = None
    tools: list[_FlatTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    n: Literal[1] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, said: dict[str, Any]) -> dict[str, Any]:
        if isinstance(said, dict) and (said.get("previous_response_id") or said.get("conversation")):
            raise ValueError("no response is kept here; send the whole conversation as input")
        if isinstance(said, dict) and said.get("prompt"):
            raise ValueError("no prompt is kept here; send instructions and input")
        return said

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(isinstance(item, _Thought) for item in self.input):
            raise ValueError("there is nothing to answer; send the conversation as input")
        return self

    def state(self) -> list[Message]:
        """The conversation as chat completions would send it, below the tools that are offered."""
        said = [{"role": "system", "content": self.instructions}] if self.instructions else []
        for item in self.input:
            if not isinstance(item, _Thought):
                _add(said, item.message())
        conversation = [WireMessage.model_validate(message).message() for message in said]
        return [offering([tool.tool() for tool in self.tools]), *conversation] if self.tools else conversation

    def asked(self) -> dict[str, object]:
        """What else is asked for, by the names of chat completions."""
        more = {name: value for name, value in (self.model_extra or {}).items() if name not in OURS | NOT_ASKED}
        choice, form = self.tool_choice, (self.text or {}).get("format")
        if isinstance(choice, dict) and choice.get("type") == "function":
            choice = {"type": "function", "function": {"name": choice.get("name")}}
        if isinstance(form, dict) and form.get("type") == "json_schema":
            form = {"type": "json_schema", "json_schema": {k: v for k, v in form.items() if k != "type"}}
        effort = (self.reasoning or {}).get("effort")
        asked = {
            "tool_choice": choice,
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": form,
            "verbosity": (self.text or {}).get("verbosity"),
            "reasoning_effort": effort,
        }
        return more | {name: value for name, value in asked.items() if value is not None}

    def answer(self, trajectory_id: int, turn: int, action: Action) -> Response:
        """The action as a response, or as the stream of events that builds it up."""
        response = self._response(f"{trajectory_id}-{turn}", action)
        if not self.stream:
            return JSONResponse(response)
        return streamed(_events(response))

    def _response(self, name: str, action: Action) -> dict[str, Any]:
        cut = CUT.get(action.finish_reason)
        status = "incomplete" if cut else "completed"
        return {
            "id": f"resp-{name}",
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "incomplete_details": {"reason": cut} if cut else None,
            "error": None,
            "instructions": self.instructions,
            "metadata": {},
            "model": self.model,
            "output": _output(name, status, action),
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "temperature": None,
            "top_p": None,
            "tool_choice": self.tool_choice or "auto",
            "tools": [tool.model_dump() for tool in self.tools or []],
            "usage": {
                "input_tokens": action.prompt_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": action.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": action.prompt_tokens + action.completion_tokens,
            },
        }


def _add(said: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Calls belong to the words that came just before them, and to each other."""
    if message.get("tool_calls") and said and said[-1]["role"] == "assistant":
        said[-1].setdefault("tool_calls", []).extend(message["tool_calls"])
    else:
        said.append(message)


def _output(name: str, status: str, action: Action) -> list[dict[str, Any]]:
    """An action's words, where it has some, then its calls."""
    words = {"type": "output_text", "text": action.content, "annotations": [], "logprobs": []}
    message = {"type": "message", "id": f"msg-{name}", "status": status, "role": "assistant", "content": [words]}
    calls = [
        {"type": "function_call", "id": f"fc-{name}-{number}", "status": status, "call_id": call["id"]}
        | {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}
        for number, call in enumerate(action.tool_calls)
    ]
    return [*([message] if action.content or not calls else []), *calls]


def _events(response: dict[str, Any]) -> Iterator[str]:
    """Server-sent events: the response begun, each item with its text in pieces, the response whole."""
    numbers = count()

    def event(kind: str, **more: object) -> str:
        data = {"type": kind, "sequence_number": next(numbers)} | more
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n"

    begun = response | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for index, item in enumerate(response["output"]):
        where = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            (part,) = item["content"]
            empty, where = part | {"text": ""}, where | {"content_index": 0}
            opening = item | {"status": "in_progress", "content": []}
            yield event("response.output_item.added", output_index=index, item=opening)
            yield event("response.content_part.added", part=empty, **where)
            for piece in pieces(part["text"]):
                yield event("response.output_text.delta", delta=piece, logprobs=[], **where)
            yield event("response.output_text.done", text=part["text"], logprobs=[], **where)
            yield event("response.content_part.done", part=part, **where)
        else:
            opening = item | {"status": "in_progress", "arguments": ""}
            yield event("response.output_item.added", output_index=index, item=opening)
            for piece in pieces(item["arguments"]):
                yield event("response.function_call_arguments.delta", delta=piece, **where)
            whole = {"name": item["name"], "arguments": item["arguments"]}
            yield event("response.function_call_arguments.done", **whole, **where)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event(f"response.{response['status']}", response=response)
