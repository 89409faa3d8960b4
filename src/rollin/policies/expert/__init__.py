"""The scripted teacher: it knows a task's reference patch, and answers at any state.

It acts as a small student can learn to act: a handful of phrases (`steps`), each tied to what the screen shows, mostly
to the last observation. Knowing the patch, it picks the right one; but a line number or a word gets into a repair only
after the screen has shown it, so it looks first where it has to. From wreckage it finds back: it sees what was changed,
undoes what is wrong, and as a last resort starts over from the base commit.

screen       the state, read: commands, outputs, test verdicts, lines shown
calls        commands as calls of tools
knowledge    the faults that the reference patch repairs
sed          a repair as one exact command
looks        where to look for what a repair needs
steps        the phrases
visible      the rules for faults in files (the visible and the semantic family)
regression   the rules for a commit that broke something
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rollin.errors import UserError
from rollin.messages import ToolCall
from rollin.policies.base import Action, Request
from rollin.policies.expert import regression, visible
from rollin.policies.expert.calls import as_action
from rollin.policies.expert.screen import Event, Screen
from rollin.tasks.schema import Family


class Expert:
    """A pure function of the conversation and the task: no sandbox, no memory between calls."""

    name = "expert"

    def __init__(self, count: Callable[[str, Sequence[ToolCall]], int] = lambda content, calls: 0) -> None:
        """`count` says how many tokens of the student an action is, so that its words cost what a teacher's do."""
        self._count = count

    async def act(self, request: Request) -> Action:
        """UserError if the request carries no task."""
        if request.task is None:
            raise UserError("the expert was asked without a task; use it where tasks carry their reference patch")
        rules = regression if request.task.family is Family.REGRESSION else visible
        screen = Screen(request.messages)
        action = as_action(rules.decide(screen, request.task), screen.tools, request.turn)
        return replace(action, completion_tokens=self._count(action.content, action.tool_calls))

    async def sound(self, request: Request) -> bool:
        """Whether the last turn of a state can be left alone: it was a command, brought something new, changed nothing
        that is no repair, and leaves nothing to be undone. UserError if the request carries no task."""
        if request.task is None:
            raise UserError("the expert was asked without a task; use it where tasks carry their reference patch")
        screen = Screen(request.messages)
        *earlier, last = screen.events or [Event("", "")]
        if request.task.family is Family.REGRESSION:  # where the same command may rightly print the same again
            return bool(last.command) and not regression.decide(screen, request.task).mends
        harmless = bool(last.command) and last not in earlier and not visible.is_strange(last, request.task)
        return harmless and not visible.decide(screen, request.task).mends

    def forget(self, trajectory: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""
