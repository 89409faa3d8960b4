"""mini-swe-agent as it is installed: its DefaultAgent and its LiteLLM models, with prompts for small models."""

import logging
import os
import re
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from jinja2 import Environment, TemplateSyntaxError
from pydantic import BaseModel, ConfigDict, Field, field_validator

from rollin.harnesses.base import LOOP, HarnessExit
from rollin.sandboxes.base import Sandbox
from rollin.store import Exit
from rollin.tasks.schema import Task

log = logging.getLogger(__name__)

Actions = Literal["text", "tool_calls"]
_YOU = "You repair a Python repository with bash."
SYSTEM: dict[Actions, str] = {
    "text": f"{_YOU} Reply with one short thought and one command in a ```bash block.",
    "tool_calls": f"{_YOU} Reply with one short thought and one call of bash.",
}
INSTANCE = "{{task}}\n\nWhen it is repaired, finish with: echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
OBSERVATION = (
    "{{output.output or '(no output)'}}"
    "{% if output.exception_info %}\n({{output.exception_info}})"
    "{% elif output.returncode %}\n(exit {{output.returncode}}){% endif %}"
)
FORMAT_ERROR: dict[Actions, str] = {
    "text": "Reply with one short thought and exactly one command in a ```bash block.",
    "tool_calls": "Reply with one short thought and one call of bash. {{error}}",
}
MODEL: dict[Actions, tuple[str, str]] = {
    "text": ("minisweagent.models.litellm_textbased_model", "LitellmTextbasedModel"),
    "tool_calls": ("rollin.harnesses.tool_calls", "ToolCallModel"),
}

ENV = {
    "PYTEST_ADDOPTS": "-p no:cacheprovider -q --tb=short -rN --disable-warnings --continue-on-collection-errors"
    " -o console_output_style=classic",
    "PYTHONNODEBUGRANGES": "1",
}
"""pytest says in a few lines what failed and where, without ornaments: what an agent reads, it pays for in tokens."""

EXITS = {
    "Submitted": Exit.SUBMITTED,
    "LimitsExceeded": Exit.TURN_LIMIT,
    "TimeExceeded": Exit.TIME_LIMIT,
    "RepeatedFormatError": Exit.FORMAT_ERRORS,
    LOOP: Exit.ACTION_LOOP,
}
"""mini-swe-agent's exit statuses in our words. Costs are not tracked, so its other limit is never reached."""


class MiniSweAgentSettings(BaseModel):
    """Limits and prompts (jinja, mini-swe-agent's variables). The defaults' prompts are 60 tokens long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mini_swe_agent"] = "mini_swe_agent"
    actions: Actions = "text"
    """How a command is given: in a code block, or as a call of the tool `bash`."""
    max_turns: int = Field(default=20, ge=1)
    max_format_errors: int = Field(default=3, ge=1)
    """So many messages in a row without exactly one command end the trajectory."""
    max_repeats: int = Field(default=0, ge=0)
    """The same one to four commands with the same outputs, so many times in a row, end the trajectory; 0 is no limit. A
    small model that acts greedily seldom leaves such a loop, and a laptop pays for every turn of it."""
    command_seconds: float | None = Field(default=None, gt=0)
    """Wall time of one command; left out, the sandbox's limit."""
    trajectory_seconds: int = Field(default=0, ge=0)
    """Wall time of a trajectory, looked at between turns; 0 is no limit. It makes a run depend on the machine."""
    observation_chars: int = Field(default=2000, ge=100)
    """What an observation shows at most: the head and the tail of longer ones."""
    env: dict[str, str] = ENV
    """Variables that the agent's commands see. These have pytest say in a few lines what failed and where."""
    system_template: str | None = None
    """Left out, a sentence that asks for the kind of action."""
    instance_template: str = INSTANCE
    observation_template: str = OBSERVATION
    format_error_template: str | None = None
    action_regex: str = r"```bash[ \t]*\n(.*?)\n?```"
    """Of `text`. The language has to be named: with an optional one, the text between two other blocks would be a
    command."""

    @field_validator("action_regex")
    @classmethod
    def _compiles(cls, regex: str) -> str:
        try:
            groups = re.compile(regex).groups
        except re.error as error:
            raise ValueError(f"it is no regular expression ({error})") from error
        if groups > 1:
            raise ValueError(f"it has {groups} groups; put the command, and nothing else, in parentheses")
        return regex

    @field_validator("system_template", "instance_template", "observation_template", "format_error_template")
    @classmethod
    def _parses(cls, template: str | None) -> str | None:
        try:
            Environment().parse(template or "")
        except TemplateSyntaxError as error:
            raise ValueError(f"it is no template of jinja ({error.message})") from error
        return template


class MiniSweAgent:
    """A `Harness`. Making one imports mini-swe-agent and LiteLLM: seconds, and 100 MB."""

    def __init__(self, settings: MiniSweAgentSettings = MiniSweAgentSettings()) -> None:  # noqa: B008 - frozen
        self.settings = settings
        _prepare()
        self._agent_class = import_module("minisweagent.agents.default").DefaultAgent
        module, name = MODEL[settings.actions]
        self._model_class = getattr(import_module(module), name)
        self._environment_class = import_module("rollin.harnesses.environment").SandboxEnvironment
        self._overflow = import_module("litellm").exceptions.ContextWindowExceededError

    sandboxed = True
    inside = False
    folders: Mapping[str, Path] = MappingProxyType({})

    @property
    def env(self) -> Mapping[str, str]:
        """See `Harness`."""
        return self.settings.env

    def run(self, task: Task, sandbox: Sandbox | None, base_url: str, key: str) -> HarnessExit:
        """See `Harness`."""
        assert sandbox is not None
        agent = self._agent(sandbox, base_url, key)
        try:
            ending = agent.run(task.problem_statement)
        except self._overflow as overflow:
            return HarnessExit(Exit.CONTEXT_LIMIT, detail=str(overflow))
        except Exception as error:
            # The gateway's 503, a sandbox that died, a bug in the scaffold: none is the model's doing.
            log.warning("%s: the harness stopped: %s: %s", task.instance_id, type(error).__name__, error)
            return HarnessExit(Exit.INFRASTRUCTURE_FAULT, detail=str(error) or type(error).__name__)
        return HarnessExit(EXITS[ending["exit_status"]], submission=ending["submission"])

    def _agent(self, sandbox: Sandbox, base_url: str, key: str) -> Any:
        s = self.settings
        # The client's own retries mend a dropped connection. A turn of a big teacher may take minutes.
        kwargs: dict[str, Any] = {"api_base": base_url, "api_key": key, "max_retries": 2, "timeout": 3600}
        if s.actions == "tool_calls":
            kwargs["_skip_mcp_handler"] = True  # or LiteLLM wants a package that only one of its extras installs
        model = self._model_class(
            model_name="openai/rollin",
            model_kwargs=kwargs,
            cost_tracking="ignore_errors",
            observation_template=s.observation_template,
            format_error_template=s.format_error_template or FORMAT_ERROR[s.actions],
            **({"action_regex": s.action_regex} if s.actions == "text" else {}),
        )
        environment = self._environment_class(
            sandbox,
            seconds=s.command_seconds,
            observation_chars=s.observation_chars,
            max_repeats=s.max_repeats,
        )
        return self._agent_class(
            model,
            environment,
            system_template=s.system_template or SYSTEM[s.actions],
            instance_template=s.instance_template,
            step_limit=s.max_turns,
            cost_limit=0,
            wall_time_limit_seconds=s.trajectory_seconds,
            max_consecutive_format_errors=s.max_format_errors,
        )


def _prepare() -> None:
    """Import mini-swe-agent without a banner, a fetch from the network, or a file in the user's home."""
    settings = {
        "MSWEA_SILENT_STARTUP": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or LiteLLM fetches its price list at import
        "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": "1",  # theirs waits 4 s and more; ours have retried already
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    ours = "MSWEA_GLOBAL_CONFIG_DIR" not in os.environ
    # The folder matters only while importing: it is made, and searched for a `.env`.
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MSWEA_GLOBAL_CONFIG_DIR", folder)
        import_module("minisweagent")
    if ours:
        os.environ.pop("MSWEA_GLOBAL_CONFIG_DIR", None)  # or another thread, which prepares too, has done it
    litellm: Any = import_module("litellm")
    litellm.suppress_debug_info = True  # it prints advice to stdout at every error
