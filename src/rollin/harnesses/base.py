"""What a harness is: the agent scaffold that talks to an LLM and runs commands, until it ends.

A harness knows a URL and a key. Who answers there, and what is recorded, is the gateway's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rollin.sandboxes.base import Sandbox
from rollin.store import Exit
from rollin.tasks.schema import Task

LOOP = "ActionLoop"
"""The exit status by which our environment tells mini-swe-agent that its agent loops."""


@dataclass(frozen=True)
class HarnessExit:
    """How a trajectory ended, as its harness saw it."""

    exit: Exit
    submission: str = ""
    """What the agent printed with its submission; empty for most. The patch is taken from the workspace."""
    detail: str = ""
    """What happened, where `exit` doesn't say it all."""
    signalled: bool = False
    """Whether a signal ended the agent's own program: the model's doing, where it has had a turn."""
    resolved: bool | None = None
    """Whether the task was, where the environment itself says so; None where the workspace is to be graded."""


class Harness(Protocol):
    """Runs one trajectory. Called from many threads at once."""

    @property
    def env(self) -> Mapping[str, str]:
        """Variables that its agent's commands see, on top of the sandbox's own."""
        ...

    @property
    def sandboxed(self) -> bool:
        """Whether its tasks are repositories, to be worked on in a sandbox and graded by their tests."""
        ...

    @property
    def inside(self) -> bool:
        """Whether it calls the LLM from within the sandbox, which then gets a way to the gateway."""
        ...

    @property
    def folders(self) -> Mapping[str, Path]:
        """Folders of the host that the sandbox is to show, read-only, by the path that they have there."""
        ...

    def run(self, task: Task, sandbox: Sandbox | None, base_url: str, key: str) -> HarnessExit:
        """Work on `task`, in `sandbox` if it wants one, with the LLM at `base_url`. What fails around the agent is an
        exit too."""
        ...
