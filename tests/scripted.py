"""Parts for tests: a small task, and policies that say what a test wrote down."""

import asyncio
import signal
from collections.abc import Callable

from rollin.policies.base import Action, Request
from rollin.tasks.schema import Task


def make_task(instance_id: str = "kata-roman-1") -> Task:
    return Task.bare(
        instance_id,
        repo="kata/roman",
        base_commit="0" * 40,
        problem_statement="`to_roman(4)` returns IIII.",
        FAIL_TO_PASS=["test_roman.py::test_four"],
    )


def hears_ctrl_c() -> None:
    """In a new process. Where the tests run in a shell's background, they inherit that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class ScriptedPolicy:
    """Answers with `script(request)`; an exception that it returns is raised. Remembers what it was asked."""

    def __init__(self, name: str, script: Callable[[Request], str | Action | Exception], delay: float = 0.0) -> None:
        self.name = name
        self.script = script
        self.delay = delay
        self.requests: list[Request] = []
        self.forgotten: list[str] = []
        self.active = 0
        self.most_active = 0

    async def act(self, request: Request) -> Action:
        self.requests.append(request)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await asyncio.sleep(self.delay)
            said = self.script(request)
        finally:
            self.active -= 1
        if isinstance(said, Exception):
            raise said
        return (
            Action(said, prompt_tokens=10, completion_tokens=5, seconds=self.delay) if isinstance(said, str) else said
        )

    def forget(self, trajectory: str) -> None:
        self.forgotten.append(trajectory)

    async def close(self) -> None:
        pass
