"""An environment that answers with text, as gym's do: reset, step, reward. No repository, no sandbox, no software."""

import logging
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

import httpx
from pydantic import BaseModel, ConfigDict, Field

from rollin.errors import InfrastructureFault
from rollin.harnesses.base import HarnessExit
from rollin.messages import Message
from rollin.plugins import load
from rollin.sandboxes.base import Sandbox
from rollin.store import Exit
from rollin.tasks.schema import Task

log = logging.getLogger(__name__)


class Environment(Protocol):
    """What `harness.make` makes, once for each trajectory."""

    def reset(self, seed: int) -> str:
        """Begin the episode that belongs to this number; the first observation."""
        ...

    def step(self, action: str) -> tuple[str, float, bool]:
        """(observation, reward, whether the episode is over) after a message of the model."""
        ...


class GymSettings(BaseModel):
    """The environment, and when an episode counts as resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gym"]
    make: str
    """The class or function that makes an environment: `package.module:name`, or `path/to/file.py:name`."""
    system: str | None = None
    """A system message, where the first observation does not say it all."""
    max_turns: int = Field(default=20, ge=1)
    """Actions after which an episode ends unresolved."""
    reward: float = 1.0
    """The last reward from which on a task is resolved."""


class GymHarness:
    """A `Harness`. The same task is the same episode: its seed comes from the task's name."""

    inside = False
    sandboxed = False
    env: Mapping[str, str] = MappingProxyType({})
    folders: Mapping[str, Path] = MappingProxyType({})

    def __init__(self, settings: GymSettings) -> None:
        """UserError where the environment can't be imported."""
        self.settings = settings
        self._make = load(settings.make)

    def run(self, task: Task, sandbox: Sandbox | None, base_url: str, key: str) -> HarnessExit:
        """See `Harness`. An environment that breaks is a fault."""
        try:
            return self._episode(self._make(), task, base_url, key)
        except _OverflowError as overflow:
            return HarnessExit(Exit.CONTEXT_LIMIT, detail=str(overflow))
        except Exception as error:  # the gateway's 503, or a bug in somebody's environment: not the model's doing
            log.warning("%s: the environment stopped: %s: %s", task.instance_id, type(error).__name__, error)
            return HarnessExit(Exit.INFRASTRUCTURE_FAULT, detail=str(error) or type(error).__name__)

    def _episode(self, environment: Environment, task: Task, base_url: str, key: str) -> HarnessExit:
        messages: list[Message] = []
        if self.settings.system:
            messages.append({"role": "system", "content": self.settings.system})
        messages.append({"role": "user", "content": environment.reset(seed_of(task))})
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=base_url, headers=headers, timeout=3600, trust_env=False) as client:
            for _ in range(self.settings.max_turns):
                said = _say(client, messages)
                seen, reward, over = environment.step(said)
                if over:
                    return HarnessExit(Exit.SUBMITTED, resolved=reward >= self.settings.reward)
                messages += [{"role": "assistant", "content": said}, {"role": "user", "content": seen}]
        return HarnessExit(Exit.TURN_LIMIT, resolved=False)


class _OverflowError(Exception):
    """The conversation outgrew the model."""


def _say(client: httpx.Client, messages: list[Message]) -> str:
    answer = client.post("/chat/completions", json={"model": "any", "messages": messages})
    if answer.is_success:
        content: str | None = answer.json()["choices"][0]["message"]["content"]
        return content or ""
    error = answer.json()["error"]
    if error["code"] == "context_length_exceeded":
        raise _OverflowError(error["message"])
    raise InfrastructureFault(error["message"])


def seed_of(task: Task) -> int:
    """31 bits that belong to a task's name."""
    return int.from_bytes(blake2b(task.instance_id.encode(), digest_size=4).digest(), "big") >> 1
