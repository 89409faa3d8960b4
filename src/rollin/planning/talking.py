"""Whether a model's chat template, tokenizer and tool format carry a conversation there and back."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers import PreTrainedTokenizerBase

from rollin.chat import action_ids, state_ids
from rollin.messages import Message, ToolCall, offering, read
from rollin.models import any_tokenizer, locate
from rollin.planning.findings import Finding, Verdict

PART = "chat template"
CALL: ToolCall = {
    "id": "call_0_0",
    "type": "function",
    "function": {"name": "bash", "arguments": '{"command": "grep -n \\"\\u00e9\\" a.py"}'},
}
WORDS = "I look at the file."
BEFORE: list[Message] = [
    offering(
        [
            {
                "type": "function",
                "function": {
                    "name": "bash",
                    "description": "Run a command.",
                    "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
                },
            }
        ]
    ),
    {"role": "system", "content": "You repair a repository."},
    {"role": "user", "content": "a.py fails."},
]
"""A conversation up to its first action."""


def check_talk(model: str, calls: Sequence[ToolCall]) -> Finding:
    """A round trip of an action, with a call where the harness wants calls; and whether the next state repeats what the
    model said, as packing and prefix caches like it. UserError for a tokenizer that can't be loaded."""
    if not _here(model):
        cure = f"where there is a hub, fetch it: hf download {model}"
        return Finding(PART, Verdict.UNCHECKED, f"the tokenizer of {model} is not on this machine", cure)
    tokenizer = any_tokenizer(model)
    if not tokenizer.chat_template:
        return Finding(PART, Verdict.SHORT, f"{model} has no chat template", "take a model that was taught to chat")
    said = action_ids(tokenizer, WORDS, calls)
    text, what = str(tokenizer.decode(said, skip_special_tokens=True)), "a tool call" if calls else "an action"
    if (read(text, 0) if calls else (text, [])) != (WORDS, [*calls]):
        cure = "take harness.actions=text, which needs no calls" if calls else "take another model"
        return Finding(PART, Verdict.DOUBTFUL, f"{what} does not come back as it was said", cure)
    return Finding(PART, Verdict.FITS, f"{what} comes back as it was said; {_history(tokenizer, said, calls)}")


def _history(tokenizer: PreTrainedTokenizerBase, said: list[int], calls: Sequence[ToolCall]) -> str:
    before = BEFORE if calls else BEFORE[1:]
    acted: Message = {"role": "assistant", "content": WORDS}
    answer: Message = {"role": "user", "content": "3: é"}
    if calls:
        acted["tool_calls"] = [*calls]
        answer = {"role": "tool", "content": "3: é", "tool_call_id": calls[0]["id"]}
    lived = state_ids(tokenizer, before) + said
    if state_ids(tokenizer, [*before, acted, answer])[: len(lived)] == lived:
        return "the next state repeats it token by token"
    return "the next state words it anew, so less is shared in training and in caches"


def _here(model: str) -> bool:
    """Whether it can be loaded without a hub."""
    place, _ = locate(model)
    return Path(place).exists() or isinstance(try_to_load_from_cache(model, "tokenizer_config.json"), str)
