"""Chat messages, and the tools that they offer and call.

Message      one chat message, in OpenAI's form
ToolCall     one call of a tool, in OpenAI's form
offered      the tools that a state offers, and the conversation without them
joined       a message's content as one text
storable     a value with text that a file takes
validated    a pydantic model from JSON, with such text
arguments_of what a call gives its tool
usable       whether an action's calls are calls of tools that there are
spelled      words and calls as one text, and `read` back: Hermes' form, which Qwen, SmolLM and others are trained on
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, TypeVar

from pydantic import BaseModel

ROLE = "tools"
"""The role of the message that a state begins with if its harness offers tools: their definitions, as JSON. So a state
is one sequence of messages, with tools or without, and the store keeps definitions once."""
Tool = dict[str, Any]
Json = TypeVar("Json")
Model = TypeVar("Model", bound=BaseModel)
TEXT = {"text", "input_text", "output_text"}
"""Types of content parts that are text."""
_HALF_PAIR = re.compile(rb"\\u[dD]")
_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


class Function(TypedDict):
    """What is called."""

    name: str
    arguments: str
    """A JSON object, as text."""


class ToolCall(TypedDict):
    """One call, in OpenAI's form."""

    id: str
    type: str
    function: Function


class Message(TypedDict):
    """One chat message, in OpenAI's form, but for the role `tools`."""

    role: str
    content: str
    name: NotRequired[str]
    tool_calls: NotRequired[list[ToolCall]]
    """An assistant's."""
    tool_call_id: NotRequired[str]
    """Which call a `tool` message answers."""


def storable(value: Json) -> Json:
    """JSON can spell half a surrogate pair, which no file and no tokenizer takes; it becomes `?`."""
    cleaned: Json = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return cleaned


def validated(kind: type[Model], body: bytes) -> Model:
    """Of a body of JSON. Raises ValidationError, ValueError or RecursionError."""
    if _HALF_PAIR.search(body):  # half a character, perhaps: JSON to Python's parser, not to pydantic's
        return kind.model_validate(storable(json.loads(body.decode())))
    return kind.model_validate_json(body)


def joined(content: object) -> object:
    """Parts that are text as one. Other values are left for pydantic to refuse."""
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") in TEXT for part in content):
        return "".join(str(part.get("text") or "") for part in content)
    return content


def offering(tools: Sequence[Tool]) -> Message:
    """Tools as the message that a state begins with, their fields in the order in which they came: models see it."""
    return {"role": ROLE, "content": json.dumps(list(tools))}


def offered(messages: Sequence[Message]) -> tuple[list[Tool], list[Message]]:
    """(the tools that a state offers, its conversation)."""
    if messages and messages[0]["role"] == ROLE:
        return json.loads(messages[0]["content"]), [*messages[1:]]
    return [], [*messages]


def arguments_of(call: ToolCall) -> dict[str, Any] | None:
    """A call's arguments; None where they are no JSON object."""
    try:
        arguments = json.loads(call["function"]["arguments"])
        return storable(arguments) if isinstance(arguments, dict) else None
    except (ValueError, RecursionError):
        return None


def usable(calls: Sequence[ToolCall], tools: Sequence[Tool]) -> bool:
    """Whether each call names a tool that there is, and its arguments are a JSON object."""
    names = {tool.get("function", {}).get("name") for tool in tools}
    return all(call["function"]["name"] in names and arguments_of(call) is not None for call in calls)


def spelled(content: str, calls: Sequence[ToolCall]) -> str:
    """An action as one text."""
    return "\n".join([*([content] if content else []), *map(_spelled_call, calls)])


def read(text: str, turn: int) -> tuple[str, list[ToolCall]]:
    """(words, calls) of a text. What looks like a call and is none stays among the words; `turn` goes into the ids."""
    calls = list[ToolCall]()

    def take(found: re.Match[str]) -> str:
        try:
            said = json.loads(found[1])
            function = Function(name=str(said["name"]), arguments=json.dumps(said.get("arguments", {})))
        except (ValueError, KeyError, RecursionError):  # the last of JSON that is nested too deeply
            return found[0]
        calls.append(ToolCall(id=f"call_{turn}_{len(calls)}", type="function", function=function))
        return ""

    words = _CALL.sub(take, text)
    return (words.strip() if calls else text), calls


def _spelled_call(call: ToolCall) -> str:
    name, arguments = call["function"]["name"], arguments_of(call)
    said = {"name": name, "arguments": call["function"]["arguments"] if arguments is None else arguments}
    return f"<tool_call>\n{json.dumps(said)}\n</tool_call>"
