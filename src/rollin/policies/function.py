"""A teacher that is a function: it gets a conversation and a task, and says what to do."""

import time
from collections.abc import Callable
from copy import deepcopy

from rollin.errors import InfrastructureFault, UserError
from rollin.messages import Message
from rollin.policies.base import Action, Request
from rollin.tasks.schema import Task


class FunctionPolicy:
    """A `Policy`. The function runs on the gateway's event loop: it should answer at once, and remember nothing."""

    def __init__(
        self, function: Callable[[list[Message], Task], str], name: str, count: Callable[[str], int] = lambda said: 0
    ) -> None:
        """`count` says how many tokens of the student an action is."""
        self.name = name
        self._function = function
        self._count = count

    async def act(self, request: Request) -> Action:
        """See `Policy`. InfrastructureFault where the function breaks, or says what is no text."""
        if request.task is None:
            raise UserError(f"{self.name} was asked without a task")
        started = time.perf_counter()
        try:
            said = self._function(deepcopy(request.messages), request.task)  # which are recorded as they are
        except Exception as error:  # somebody's own code
            raise InfrastructureFault(f"{self.name} broke: {type(error).__name__}: {error}") from error
        if not isinstance(said, str):
            raise InfrastructureFault(f"{self.name} said what is no text: {said!r}")
        return Action(said, completion_tokens=self._count(said), seconds=time.perf_counter() - started)

    def forget(self, trajectory: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""
