"""mini-swe-agent's model for tool calls, which also wants each command to be a string.

Imports mini-swe-agent, which takes seconds: `mini_swe_agent` imports this module when a harness is made.
"""

from typing import Any

from jinja2 import StrictUndefined, Template
from minisweagent.exceptions import FormatError
from minisweagent.models.litellm_model import LitellmModel


class ToolCallModel(LitellmModel):  # type: ignore[misc]
    """LitellmModel takes any JSON for a command, and an environment can't run a list or null."""

    def _parse_actions(self, response: Any) -> list[dict[str, Any]]:
        """Raises FormatError, as theirs does, before any of the calls is made: a call that gets no answer would be
        refused by the next turn's API."""
        actions: list[dict[str, Any]] = super()._parse_actions(response)
        if all(isinstance(action["command"], str) for action in actions):
            return actions
        said = Template(self.config.format_error_template, undefined=StrictUndefined).render(
            error="The 'command' argument of bash must be a string.",
            actions=[],
            has_tool_calls=True,
            finish_reason=response.choices[0].finish_reason,
        )
        raise FormatError({"role": "user", "content": said, "extra": {"interrupt_type": "FormatError"}})
