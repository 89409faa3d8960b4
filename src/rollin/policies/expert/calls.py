"""The expert among tools: the commands of a state that were given as calls, and its own step as one.

command_in   the command of a message, given in a code block or by calls
as_action    a step as an action of the state's agent
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from rollin.messages import Function, Message, Tool, ToolCall, arguments_of
from rollin.policies.base import Action
from rollin.policies.expert.steps import SUBMIT, Step

FINISHES = ("finish", "submit")
"""Tools that end a trajectory, by name; where there is none, a command does."""
THINKS = "think"
ROOT = "/repo/"
"""Where editors see the repository."""
_BLOCK = re.compile(r"```(?:bash|sh|mswea_bash_command)?[ \t]*\n(.*?)\n?```", re.DOTALL)


def command_in(message: Message) -> str:
    """The one command of a message; empty if it holds none, or several code blocks. Calls of one message are commands
    one after another; what is no command is written like one: an edit as its tool's name and what it was given."""
    if calls := message.get("tool_calls"):
        return "\n".join(filter(None, map(_command, calls)))
    return command_of(message["content"])


def command_of(content: str) -> str:
    """The one command in the code blocks of a text; empty if it holds none, or several."""
    blocks = _BLOCK.findall(content)
    return blocks[0].strip() if len(blocks) == 1 else ""


def as_action(step: Step, tools: Sequence[Tool], turn: int) -> Action:
    """A step as a call of the tool that takes commands, or that ends the trajectory; in a code block where no tool
    takes commands."""
    shell = next((tool["function"] for tool in tools if _takes_commands(tool)), None)
    if shell is None:
        return Action(str(step))
    finishes = [tool["function"] for tool in tools if tool.get("function", {}).get("name") in FINISHES]
    called, given = shell, {"command": step.command}
    if finishes and step.command == SUBMIT:
        called, given = finishes[0], {}
    asked = called.get("parameters", {}).get("required", [])
    words = {name: step.thought for name in asked if name not in given}
    function = Function(name=called["name"], arguments=json.dumps({**given, **words}))
    return Action(step.thought, tool_calls=[ToolCall(id=f"call_{turn}_0", type="function", function=function)])


def _takes_commands(tool: Tool) -> bool:
    """Whether its `command` is any text: an editor's is one of a few words."""
    command = _parameters(tool).get("command", {})
    return command.get("type") == "string" and "enum" not in command


def _parameters(tool: Tool) -> dict[str, Any]:
    found: dict[str, Any] = tool.get("function", {}).get("parameters", {}).get("properties", {})
    return found


def _command(call: ToolCall) -> str:
    name, given = call["function"]["name"], arguments_of(call) or {}
    command, path = given.get("command"), given.get("path")
    if isinstance(command, str) and path is None:
        return command.strip()
    if name in (THINKS, *FINISHES) or not given:
        return ""
    file = str(path or "").removeprefix(ROOT)
    return f"cat -n {file}" if command == "view" else f"{name} {file}"
