"""The scripted expert under agents whose commands are calls of tools."""

import json
from pathlib import Path

import pytest
from expert_room import Vandal, broken_task, regression_task

from rollin.gateway import Gateway
from rollin.harnesses.mini_swe_agent import MiniSweAgent, MiniSweAgentSettings
from rollin.messages import Function, Message, Tool, ToolCall, offering
from rollin.mixture import Actor, Teacher
from rollin.policies.base import Action, Request
from rollin.policies.expert import Expert
from rollin.policies.expert.calls import as_action, command_in, command_of
from rollin.policies.expert.screen import Screen
from rollin.policies.expert.steps import FINISH, Step
from rollin.rollout import Attempt, Cast, Rollouts
from rollin.sandboxes.base import Limits
from rollin.store import Exit, Purpose, Store
from rollin.tasks.schema import Family


def tool(name: str, required: list[str], **properties: dict[str, object]) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TEXT: dict[str, object] = {"type": "string"}
EDITOR = tool("file_editor", ["command", "path"], command={**TEXT, "enum": ["view", "create"]}, path=TEXT)
TERMINAL = tool("terminal", ["command"], command=TEXT, is_input={"type": "boolean"})
DESCRIBED = tool("shell", ["command", "description"], command=TEXT, description=TEXT)
END = tool("finish", ["message"], message=TEXT, summary=TEXT)


def calling(*calls: tuple[str, dict[str, object]]) -> Message:
    made = [
        ToolCall(id=f"c{place}", type="function", function=Function(name=name, arguments=json.dumps(given)))
        for place, (name, given) in enumerate(calls)
    ]
    return {"role": "assistant", "content": "So.", "tool_calls": made}


def called(action: Action) -> tuple[str, dict[str, str]]:
    [call] = action.tool_calls
    return call["function"]["name"], json.loads(call["function"]["arguments"])


def test_a_step_is_a_call_of_the_tool_that_takes_any_command() -> None:
    step = Step("Look.", "ls 'a b'")
    assert called(as_action(step, [EDITOR, TERMINAL, END], 3)) == ("terminal", {"command": "ls 'a b'"})
    assert called(as_action(step, [DESCRIBED], 3)) == ("shell", {"command": "ls 'a b'", "description": "Look."})
    assert called(as_action(FINISH, [TERMINAL], 3)) == ("terminal", {"command": FINISH.command})
    assert called(as_action(FINISH, [TERMINAL, END], 3)) == ("finish", {"message": FINISH.thought})
    assert as_action(step, [TERMINAL], 3).content == "Look."
    for tools in ([], [EDITOR], [{"type": "web_search"}]):
        assert command_of(as_action(step, tools, 3).content) == "ls 'a b'"


def test_calls_are_read_as_commands() -> None:
    assert command_in(calling(("bash", {"command": "ls\n"}), ("bash", {"command": "pwd"}))) == "ls\npwd"
    assert command_in(calling(("file_editor", {"command": "view", "path": "/repo/a/b.py"}))) == "cat -n a/b.py"
    assert command_in(calling(("think", {"thought": "Perhaps."}))) == ""
    assert command_in(calling(("bash", {"command": ["ls"]}))) == "bash "
    broken = calling(("bash", {}))
    broken["tool_calls"][0]["function"]["arguments"] = "{"
    assert command_in(broken) == ""


def test_an_edit_is_a_change_and_a_view_shows_lines() -> None:
    edit = calling(("file_editor", {"command": "str_replace", "path": "/repo/a.py", "old_str": "x", "new_str": "y"}))
    view = calling(("file_editor", {"command": "view", "path": "/repo/a.py"}))
    shown: Message = {
        "role": "tool",
        "content": "Here's the result of `cat -n`:\n     1\tVALUE = 0",
        "tool_call_id": "c",
    }
    screen = Screen([offering([EDITOR]), edit, shown, view, shown])
    assert [event.reads for event in screen.events] == [False, True]
    [line] = screen.events[1].sightings
    assert (line.path, line.number, line.text) == ("a.py", 1, "VALUE = 0")


def test_what_a_scaffold_says_of_itself_is_not_on_the_screen() -> None:
    opening: list[Message] = [{"role": "system", "content": "Give a path."}, {"role": "user", "content": "It fails."}]
    screen = Screen([offering([END]), *opening])
    assert screen.shows(["fails"])
    assert not screen.shows(["summary"])
    assert not screen.shows(["path"])


class AfterVandal(Expert):
    """The expert, after three turns of a vandal that acts by calls."""

    async def act(self, request: Request) -> Action:
        if request.turn >= 3:
            return await super().act(request)
        command = command_of((await Vandal().act(request)).content)
        return Action("Let me try this.", tool_calls=calling(("bash", {"command": command}))["tool_calls"])


@pytest.mark.parametrize("policy", [Expert(), AfterVandal()], ids=["alone", "after three turns of a vandal"])
def test_it_resolves_by_calls(tmp_path: Path, policy: Expert) -> None:
    tasks = [
        broken_task("password", Family.VISIBLE, ("misspelled_key", "missing_colon", "missing_bracket"), tmp_path),
        broken_task("roman", Family.SEMANTIC, ("wrong_constant",), tmp_path),
        regression_task(tmp_path, conflict=True),
    ]
    harness = MiniSweAgent(MiniSweAgentSettings(actions="tool_calls", max_turns=30))
    cast = Cast("teacher", Teacher(), {Actor.TEACHER: policy})
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        store.add_tasks(tasks)
        rollouts = Rollouts(store, gateway, harness, cache_dir=tmp_path, limits=Limits(), concurrency=2, seed=0)
        rows = rollouts.run([Attempt(task, 1, Purpose.EVAL) for task in tasks], cast, lambda row: None)
    assert [(row.exit, row.resolved) for row in rows] == [(Exit.SUBMITTED, True)] * len(tasks)
