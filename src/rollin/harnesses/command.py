"""Any program as the agent: it gets the task and a base URL, works in the sandbox, and exits when it is done."""

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rollin.errors import InfrastructureFault, UserError
from rollin.harnesses.base import HarnessExit
from rollin.sandboxes import bridge
from rollin.sandboxes.base import Sandbox
from rollin.store import Exit
from rollin.tasks.schema import Task

log = logging.getLogger(__name__)
FOLDER = "/agent"
"""Where the sandbox sees the program's own files."""
LAST_WORDS = 1000
"""Characters of a program's output that are told where it failed."""

SIGNALLED = range(129, 193)
"""Exit statuses that a shell gives to what a signal ended."""


class CommandSettings(BaseModel):
    """The program, and what it finds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["command"]
    command: str
    """Run by bash in the task's repository. It sees `TASK` (the problem statement), `TASK_ID`, `OPENAI_BASE_URL`,
    `OPENAI_API_KEY`, and all of the Python environment that rollin runs in."""
    folder: Path | None = None
    """The program's own files, which it finds in /agent, read-only."""
    visible: list[Path] = []
    """More of the host that the program needs (another Python, node), seen where it is, read-only. Absolute paths."""
    seconds: float = Field(default=1800, gt=0)
    """Wall time of a trajectory."""
    env: dict[str, str] = {}
    """Further variables that the program and its commands see."""


class CommandHarness:
    """A `Harness`. The program runs in the sandbox like all that it does; its way out is the gateway alone."""

    sandboxed = True
    inside = True

    def __init__(self, settings: CommandSettings) -> None:
        """UserError where something that it is to see is not there."""
        if settings.folder and not settings.folder.is_dir():
            raise UserError(f"harness.folder: there is no folder {settings.folder}; check the path")
        for path in settings.visible:
            if not path.is_absolute() or not path.exists():
                raise UserError(f"harness.visible: there is nothing at {path}; give its absolute path")
        self.settings = settings

    @property
    def env(self) -> Mapping[str, str]:
        """See `Harness`."""
        return self.settings.env

    @property
    def folders(self) -> Mapping[str, Path]:
        """See `Harness`."""
        own = {FOLDER: self.settings.folder} if self.settings.folder else {}
        return own | {str(path): path for path in self.settings.visible}

    def run(self, task: Task, sandbox: Sandbox | None, base_url: str, key: str) -> HarnessExit:
        """See `Harness`. A program that fails is a fault around the agent, not the model's doing; one that passes a
        limit of the sandbox is, and one that a signal ended may be: its model can kill all processes."""
        assert sandbox is not None
        seen = {
            "TASK": task.problem_statement,
            "TASK_ID": task.instance_id,
            "OPENAI_BASE_URL": f"http://127.0.0.1:{bridge.PORT}/v1",
            "OPENAI_API_KEY": key,
        }
        words = ["env", *(f"{name}={value}" for name, value in seen.items())]
        words += ["python", "-I", bridge.HERE, str(bridge.PORT), "bash", "-c", self.settings.command]
        try:
            result = sandbox.run(shlex.join(words), seconds=self.settings.seconds, waits=True)
        except InfrastructureFault as fault:
            log.warning("%s: the harness stopped: %s", task.instance_id, fault)
            return HarnessExit(Exit.INFRASTRUCTURE_FAULT, detail=str(fault))
        words_of_it = result.output[-LAST_WORDS:].strip()
        if result.timed_out:
            return HarnessExit(Exit.TIME_LIMIT)
        if result.killed:  # for what the model had it do
            log.warning("%s: the program was killed: %s", task.instance_id, words_of_it)
            return HarnessExit(Exit.SANDBOX_LIMIT, detail=words_of_it)
        if result.returncode:
            log.warning("%s: the program exited with %d: %s", task.instance_id, result.returncode, words_of_it)
            told = f"exit {result.returncode}: {words_of_it}"
            signalled = result.returncode in SIGNALLED
            return HarnessExit(Exit.INFRASTRUCTURE_FAULT, detail=told, signalled=signalled)
        return HarnessExit(Exit.SUBMITTED)
