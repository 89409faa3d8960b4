"""Between chat messages and tokens: the one place where a chat template is applied."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from rollin.messages import Message, Tool, ToolCall, offered, spelled

ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>")
"""What chat templates close a turn with."""
AS_SYSTEM = {"developer": "system"}
"""OpenAI's newer name."""
IN_WORDS = Path(__file__).with_name("tools.jinja").read_text().removesuffix("\n")


def knowing_tools(template: str) -> str:
    """The chat template, or one that writes tools and their calls in words where it knows none. It goes into the
    checkpoints: whoever serves them shows a model what it was trained on."""
    return template if "tools" in template else IN_WORDS + template


def state_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Tokens of a state, with the opening of the assistant's message: what a policy is asked to continue."""
    tools, conversation = offered(messages)
    return list(tokenizer.encode(_rendered(tokenizer, conversation, tools, opened=True), add_special_tokens=False))


def action_ids(tokenizer: PreTrainedTokenizerBase, content: str, calls: Sequence[ToolCall] = ()) -> list[int]:
    """Tokens of an action, with the token that ends the assistant's message."""
    text = _called(tokenizer, content, calls) if calls else content
    return [*tokenizer.encode(text, add_special_tokens=False), closing(tokenizer)]


def closing(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token with which the chat template closes an assistant's message."""
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    marks = (_token(tokenizer, mark) for mark in ENDS if mark in template)
    return next((mark for mark in marks if mark is not None), int(tokenizer.eos_token_id))


def action_end(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens that end an assistant's message: the end of sequence, and whatever closes a turn."""
    marks = [_token(tokenizer, mark) for mark in ENDS]
    return {mark for mark in marks if mark is not None} | {int(tokenizer.eos_token_id)}


def _token(tokenizer: PreTrainedTokenizerBase, mark: str) -> int | None:
    """Its number, None for one that the tokenizer doesn't know. (Asking for the vocabulary would take 20 ms.)"""
    number = tokenizer.convert_tokens_to_ids(mark)
    known = isinstance(number, int) and tokenizer.convert_ids_to_tokens(number) == mark
    return number if known else None  # type: ignore[return-value]


def _called(tokenizer: PreTrainedTokenizerBase, content: str, calls: Sequence[ToolCall]) -> str:
    """An action with calls as the tokenizer's template writes it; in Hermes' form where it doesn't write them."""
    asked: list[Message] = [{"role": "user", "content": ""}]
    answered: list[Message] = [*asked, {"role": "assistant", "content": content, "tool_calls": list(calls)}]
    opening, whole = _rendered(tokenizer, asked, opened=True), _rendered(tokenizer, answered)
    said = whole.removeprefix(opening)
    for end in action_end(tokenizer):
        said = said.partition(str(tokenizer.convert_ids_to_tokens(end)))[0]
    told = said != whole and all(call["function"]["name"] in said for call in calls)
    return said if told else spelled(content, calls)


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Sequence[Tool] = (), *, opened: bool = False
) -> str:
    template = tokenizer.get_chat_template()
    if "developer" not in template:  # it would leave such a message out without a word
        messages = [{**message, "role": AS_SYSTEM.get(message["role"], message["role"])} for message in messages]
    said = [_for_template(message) for message in messages]
    rendered = tokenizer.apply_chat_template(said, tools=[*tools] or None, add_generation_prompt=opened, tokenize=False)
    return str(rendered)


def _for_template(message: Message) -> dict[str, Any]:
    """Templates want a call's arguments as an object, where OpenAI's form has them as text."""
    said: dict[str, Any] = {**message}
    if calls := message.get("tool_calls"):
        functions = [{**call["function"], "arguments": _object(call["function"]["arguments"])} for call in calls]
        said["tool_calls"] = [{**call, "function": function} for call, function in zip(calls, functions, strict=True)]
    return said


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
