"""The scripted teacher: it knows a task's reference patch, and answers at any state."""

from rollin.errors import UserError
from rollin.policies.base import Action, Request
from rollin.policies.expert import regression, visible
from rollin.policies.expert.screen import Screen
from rollin.tasks.schema import Family


class Expert:
    """A pure function of the conversation and the task: no sandbox, no memory between calls."""

    name = "expert"

    async def act(self, request: Request) -> Action:
        """UserError if the request carries no task."""
        if request.task is None:
            raise UserError("the expert was asked without a task; use it where tasks carry their reference patch")
        rules = regression if request.task.family is Family.REGRESSION else visible
        return Action(content=str(rules.decide(Screen(request.messages), request.task)))

    def forget(self, trajectory: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""
