"""What a policy is: state in, action out. The student is one, the teacher is one.

State        the whole conversation before a turn, as chat messages; first the tools, where some are offered
Action       one assistant message, with its tokens where the policy knows them
Request      a state, and what belongs to asking for its action
Policy       answers requests
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from rollin.messages import Message, ToolCall, offered, spelled, usable
from rollin.tasks.schema import Task


class Sampling(BaseModel):
    """How an action is drawn. `temperature` 0 is greedy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=128, ge=1)
    """Length limit of one action, in tokens."""


LOGPROBS = {"logprobs", "top_logprobs"}
"""How a harness asks for log-probabilities."""


@dataclass(frozen=True)
class Request:
    """A state, and what belongs to asking for its action."""

    messages: list[Message]
    trajectory: str
    """Names the trajectory: a policy may keep caches by it, and end them at `forget`."""
    turn: int
    """0 for the first turn."""
    seed: int
    """Decides the draw: the same request with the same seed gives the same action, where the policy can."""
    sampling: Sampling = field(default_factory=Sampling)
    task: Task | None = None
    """For policies that know the task itself (the scripted expert). Never sent to a model."""
    asked: Mapping[str, object] = field(default_factory=dict)
    """What else the harness asked for, by OpenAI's names: `stop`, `tool_choice`, ... A policy may not understand it."""


@dataclass(frozen=True)
class Action:
    """One assistant message."""

    content: str
    finish_reason: str = "stop"
    """`stop`, or what cut it: `length` (max_tokens), `content_filter` (its provider)."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    token_ids: list[int] | None = None
    """The sampled tokens, the end-of-message token included, where the policy knows them."""
    logprobs: list[float] | None = None
    """Log-probability of each of `token_ids` under the distribution it was sampled from (natural logarithm)."""
    seconds: float = 0.0
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs_answered: list[dict[str, Any]] | None = None
    """Each token with its log-probability in OpenAI's form, where the harness asked for that. It is not stored."""

    @property
    def text(self) -> str:
        """Its words and its calls."""
        return spelled(self.content, self.tool_calls)

    def teaches(self, messages: Sequence[Message]) -> bool:
        """Whether it can be learnt from in this state: it says something, to its end, and what it calls is there."""
        whole = self.finish_reason == "stop" and bool(self.text)
        return whole and (not self.tool_calls or usable(self.tool_calls, offered(messages)[0]))

    @property
    def message(self) -> Message:
        """As the next state holds it."""
        message: Message = {"role": "assistant", "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        return message


class Policy(Protocol):
    """State in, action out. Raises InfrastructureFault where the policy could not answer."""

    name: str

    async def act(self, request: Request) -> Action: ...

    def forget(self, trajectory: str) -> None:
        """The trajectory has ended; free what was kept for it."""
        ...

    async def close(self) -> None: ...
