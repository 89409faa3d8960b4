"""OpenAI's chat completions on the wire: what a harness may send, what it gets back, how errors look.

Only the conversation is taken from a request. Sampling is the run's, whatever the harness asks for, because the
recipe has to decide it; fields that don't change what is meant are ignored.
"""

import json
import time
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from starlette.responses import JSONResponse, Response

from rollin.policies.base import Action, Message


class WireError(Exception):
    """An answer other than 200, in OpenAI's error shape."""

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error", code: str | None = None):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def response(self) -> Response:
        # Every policy has done its own retries; a client that repeats a fault would only delay its end.
        return JSONResponse(self.body, self.status, {"x-should-retry": "false"})


def _text(content: object) -> object:
    """A message's content as one string; text parts are joined. Other values are left for pydantic to refuse."""
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    return content


class WireMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text)] = ""
    name: str | None = None
    tool_calls: Annotated[list[object], Field(max_length=0)] | None = None


class WireRequest(BaseModel):
    """What a harness sends. `tools`, `stream` and `n` would change the answer's shape, so they are refused."""

    messages: list[WireMessage] = Field(min_length=1)
    model: str = "rollin"
    stream: Literal[False] | None = None
    n: Literal[1] | None = None
    tools: Annotated[list[object], Field(max_length=0)] | None = None

    def conversation(self) -> list[Message]:
        return [_message(message) for message in self.messages]


def _message(wire: WireMessage) -> Message:
    message: Message = {"role": wire.role, "content": storable(wire.content)}
    if wire.name is not None:
        message["name"] = storable(wire.name)
    return message


def storable(text: str) -> str:
    """JSON can spell half a surrogate pair, which no file and no tokenizer takes; it becomes `?`."""
    return text.encode("utf-8", "replace").decode()


def parse(body: bytes) -> WireRequest:
    """WireError 400 with the field at fault."""
    try:
        return WireRequest.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise WireError(400, f"{field}: {first['msg']}. {_advice(field)}".rstrip()) from error
    except (ValueError, RecursionError) as error:
        raise WireError(400, "the body is not JSON; send an OpenAI chat completion request") from error


def _advice(field: str) -> str:
    if field.startswith("tools") or "tool_calls" in field or field.endswith("role"):
        return "The gateway speaks text: set the harness to text-based actions, not tool calls."
    if field.startswith("stream"):
        return "The gateway doesn't stream: set stream to false."
    return ""


def completion(model: str, trajectory_id: int, turn: int, action: Action) -> Response:
    """The action as a chat completion. It doesn't say who acted: a harness must not be able to tell."""
    total = action.prompt_tokens + action.completion_tokens
    return JSONResponse(
        {
            "id": f"chatcmpl-{trajectory_id}-{turn}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": action.content},
                    "finish_reason": action.finish_reason,
                    "logprobs": None,
                }
            ],
            "usage": {
                "prompt_tokens": action.prompt_tokens,
                "completion_tokens": action.completion_tokens,
                "total_tokens": total,
            },
        }
    )


def models() -> Response:
    """There is one, and who answers for it is the roll-in's business."""
    return JSONResponse(
        {"object": "list", "data": [{"id": "rollin", "object": "model", "created": 0, "owned_by": "rollin"}]}
    )
