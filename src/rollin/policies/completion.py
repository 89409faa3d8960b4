"""What a server answers: OpenAI's chat completion as far as it is used, whatever else servers add to it.

Completion    one, as it came
parsed        one from a body
action        what it says, as an action
"""

import math
import secrets
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rollin.messages import ToolCall, joined, validated
from rollin.policies.base import Action

FINISHES = {None: "stop", "stop": "stop", "length": "length", "content_filter": "content_filter"}
FINISHES |= dict.fromkeys(("tool_calls", "function_call", "eos"), "stop")
"""Reasons to finish, as an action has them: calls of tools are none of their own, `eos` is Together's word. By any
other (`error`, `abort`, `insufficient_system_resource`) a server says that it broke off."""
UNLIKELY = -9999.0
"""How OpenAI writes the log-probability of what can't come: JSON has no infinity."""


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else UNLIKELY


class _Token(BaseModel):
    model_config = ConfigDict(extra="allow")

    logprob: Annotated[float, AfterValidator(_finite)]
    top_logprobs: "list[_Token] | None" = None


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Function(BaseModel):
    name: str
    arguments: Annotated[str, BeforeValidator(lambda said: "{}" if said is None else said)] = "{}"


class _Call(BaseModel):
    id: Annotated[str, BeforeValidator(lambda said: said or f"call_{secrets.token_hex(8)}")] = Field(
        default="", validate_default=True
    )
    function: _Function

    def call(self) -> ToolCall:
        function = self.function
        return {"id": self.id, "type": "function", "function": {"name": function.name, "arguments": function.arguments}}


class _Message(BaseModel):
    content: Annotated[str, BeforeValidator(joined)] = ""
    tool_calls: list[_Call] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    token_ids: list[int] | None = None
    """vLLM's, on request."""


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(BaseModel):
    """One, as it came."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None

    @property
    def finish_reason(self) -> str | None:
        return self.choices[0].finish_reason


CUT = Completion(choices=[_Choice(message=_Message(), finish_reason="length")])
"""Nothing was said before the limit."""


def parsed(body: bytes) -> Completion:
    """ValueError says what makes it none."""
    try:
        return validated(Completion, body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ValueError(f"{field}: {first['msg']}" if field else "no JSON object") from error
    except (ValueError, RecursionError) as error:
        raise ValueError("no JSON object") from error


def action(completion: Completion, seconds: float, *, with_logprobs: bool) -> Action:
    """What it says, `seconds` after it was asked. Log-probabilities go on to the agent only if it wants them."""
    choice, usage = completion.choices[0], completion.usage or _Usage()
    said = choice.logprobs.content if choice.logprobs and with_logprobs else None
    token_ids, logprobs = _tokens(choice)
    return Action(
        content=choice.message.content,
        tool_calls=[call.call() for call in choice.message.tool_calls or []],
        finish_reason=FINISHES[choice.finish_reason],
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        token_ids=token_ids,
        logprobs=logprobs,
        logprobs_answered=None if said is None else [token.model_dump(exclude_unset=True) for token in said],
        seconds=seconds,
    )


def _tokens(choice: _Choice) -> tuple[list[int] | None, list[float] | None]:
    """Log-probabilities only with the tokens that they belong to, one for each."""
    content = choice.logprobs.content if choice.logprobs else None
    if choice.token_ids is None or content is None or len(content) != len(choice.token_ids):
        return choice.token_ids, None
    return choice.token_ids, [token.logprob for token in content]
