"""Between chat messages and tokens: the one place where a chat template is applied."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from rollin.policies.base import Message


def state_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Tokens of a state, with the opening of the assistant's message: what a policy is asked to continue."""
    text = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)  # type: ignore[arg-type]
    return list(tokenizer.encode(str(text), add_special_tokens=False))


def action_ids(tokenizer: PreTrainedTokenizerBase, content: str) -> list[int]:
    """Tokens of an action, with the token that ends the assistant's message."""
    return [*tokenizer.encode(content, add_special_tokens=False), min(action_end(tokenizer))]


def action_end(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens that end an assistant's message: the end of sequence, and what the chat template closes a turn with."""
    ends = {"<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>"} & set(tokenizer.get_vocab())
    marks = {int(tokenizer.convert_tokens_to_ids(mark)) for mark in ends}  # type: ignore[arg-type]
    return marks or {int(tokenizer.eos_token_id)}
