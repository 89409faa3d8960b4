"""OpenAI's chat completions on the wire: what a harness may send, what it gets back, how errors look.

How an action is drawn (temperature, length, seed) is the run's, whatever the harness asks for, because the recipe has
to decide it. All else that it asks for goes on to whoever acts.
"""

import json
import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from starlette.responses import JSONResponse, Response

from rollin.messages import Message, Tool, ToolCall, joined, offering, validated
from rollin.policies.base import Action

OURS = {"temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "seed"}
"""What the recipe decides."""
NOT_ASKED = {"user", "store", "metadata", "service_tier", "safety_identifier", "moderation"}
NOT_ASKED |= {"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"}
"""What is between a harness and its provider, and no part of the question."""
OUTDATED = {"functions", "function_call"}
PIECE = 20
"""Characters of an action in one chunk of a stream."""


class WireError(Exception):
    """An answer other than 200, in OpenAI's error shape."""

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error", code: str | None = None):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def response(self) -> Response:
        # Every policy has done its own retries; a client that repeats a fault would only delay its end.
        return JSONResponse(self.body, self.status, {"x-should-retry": "false"})


class _WireFunction(BaseModel):
    name: str
    arguments: str


class _WireCall(BaseModel):
    id: str
    type: Literal["function"] = "function"
    function: _WireFunction

    def call(self) -> ToolCall:
        function = self.function
        return {"id": self.id, "type": "function", "function": {"name": function.name, "arguments": function.arguments}}


class WireMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, BeforeValidator(joined)] = ""
    name: str | None = None
    tool_calls: list[_WireCall] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _answers_a_call(self) -> Self:
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a tool message needs its tool_call_id")
        return self

    def message(self) -> Message:
        """As the store and the policies know it."""
        message: Message = {"role": self.role, "content": self.content}
        if self.name is not None:
            message["name"] = self.name
        if self.tool_calls:
            message["tool_calls"] = [call.call() for call in self.tool_calls]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        return message


class _WireTool(BaseModel):
    model_config = ConfigDict(extra="allow")

    type: Literal["function"]
    function: dict[str, Any]


class _StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """What a harness sends. Fields that are not named here go on as they are."""

    model_config = ConfigDict(extra="allow")

    messages: list[WireMessage] = Field(min_length=1)
    model: str = "rollin"
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Literal[1] | None = None
    tools: list[_WireTool] | None = None

    @model_validator(mode="after")
    def _up_to_date(self) -> Self:
        if found := OUTDATED & set(self.model_extra or {}):
            raise ValueError(f"{min(found)} is outdated; use tools and tool_choice")
        return self

    def state(self) -> list[Message]:
        """The conversation, below the tools that are offered."""
        conversation = [message.message() for message in self.messages]
        return [offering(self._tools()), *conversation] if self.tools else conversation

    def asked(self) -> dict[str, object]:
        """What else is asked for."""
        return {name: value for name, value in (self.model_extra or {}).items() if name not in OURS | NOT_ASKED}

    def answer(self, trajectory_id: int, turn: int, action: Action) -> Response:
        """The action as a chat completion, or as a stream of its chunks. It doesn't say who acted: a harness must not
        be able to tell."""
        identity = {"id": f"chatcmpl-{trajectory_id}-{turn}", "created": int(time.time()), "model": self.model}
        if not self.stream:
            return JSONResponse(_completion(identity, action))
        with_usage = self.stream_options is not None and self.stream_options.include_usage
        # The action is whole and committed before its first piece leaves: a stream that breaks loses no turn.
        return streamed(_events(identity, action, with_usage=with_usage))

    def _tools(self) -> list[Tool]:
        return [tool.model_dump() for tool in self.tools or []]


Body = TypeVar("Body", bound=BaseModel)
NOT_JSON = "the body is not JSON"


def parse(kind: type[Body], body: bytes) -> Body:
    """WireError 400 with the field at fault."""
    try:
        return validated(kind, body)
    except ValidationError as error:
        raise invalid(error) from error
    except (ValueError, RecursionError) as error:
        raise WireError(400, NOT_JSON) from error


def invalid(error: ValidationError, *within: str) -> WireError:
    """400 with the first field at fault, by its place in the body."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return WireError(400, NOT_JSON)
    field = ".".join(str(part) for part in (*within, *first["loc"])) or "body"
    return WireError(400, f"{field}: {first['msg']}. {_advice(field)}".rstrip())


def _advice(field: str) -> str:
    if field == "n":
        return "The gateway gives one answer: set n to 1."
    if field.endswith("content"):
        return "The gateway reads text, no images or sound."
    return ""


def _completion(identity: dict[str, Any], action: Action) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": action.content}
    if action.tool_calls:
        message |= {"content": action.content or None, "tool_calls": action.tool_calls}
    choice = {"index": 0, "message": message, "finish_reason": _finish(action), "logprobs": _logprobs(action)}
    return identity | {"object": "chat.completion", "choices": [choice], "usage": _usage(action)}


def _events(identity: dict[str, Any], action: Action, *, with_usage: bool) -> Iterator[str]:
    """Server-sent events: the role, the words and calls in pieces, the reason, the usage if it is wanted."""

    def chunk(choices: list[dict[str, Any]], **more: object) -> str:
        data = identity | {"object": "chat.completion.chunk", "choices": choices} | more
        return f"data: {json.dumps(data)}\n\n"

    def delta(said: dict[str, Any], finish: str | None = None, logprobs: dict[str, Any] | None = None) -> str:
        return chunk([{"index": 0, "delta": said, "finish_reason": finish, "logprobs": logprobs}])

    content = None if action.tool_calls and not action.content else ""
    yield delta({"role": "assistant", "content": content}, logprobs=_logprobs(action))
    for piece in pieces(action.content):
        yield delta({"content": piece})
    for index, call in enumerate(action.tool_calls):
        opening = {"index": index, **call, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield delta({"tool_calls": [opening]})
        for piece in pieces(call["function"]["arguments"]):
            yield delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield delta({}, _finish(action))
    if with_usage:
        yield chunk([], usage=_usage(action))
    yield "data: [DONE]\n\n"


def pieces(text: str) -> Iterator[str]:
    """As a stream has them."""
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))


def _finish(action: Action) -> str:
    return "tool_calls" if action.tool_calls and action.finish_reason == "stop" else action.finish_reason


def _logprobs(action: Action) -> dict[str, Any] | None:
    return None if action.logprobs_answered is None else {"content": action.logprobs_answered, "refusal": None}


def _usage(action: Action) -> dict[str, int]:
    total = action.prompt_tokens + action.completion_tokens
    counts = {"prompt_tokens": action.prompt_tokens, "completion_tokens": action.completion_tokens}
    return counts | {"total_tokens": total}


def streamed(events: Iterable[str]) -> Response:
    """Server-sent events, in one go: they are all there, and each handed over by itself would cost 0.3 ms."""
    return Response("".join(events), media_type="text/event-stream")


def models() -> Response:
    """There is one, and who answers for it is the roll-in's business."""
    return JSONResponse(
        {"object": "list", "data": [{"id": "rollin", "object": "model", "created": 0, "owned_by": "rollin"}]}
    )
