"""A rollin sandbox as a mini-swe-agent environment.

Imports mini-swe-agent, which takes seconds: `mini_swe_agent` imports this module when a harness is made.
"""

from typing import Any

from minisweagent.exceptions import LimitsExceeded, Submitted

from rollin.harnesses.base import LOOP
from rollin.harnesses.observation import observation
from rollin.sandboxes.base import Sandbox

SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""mini-swe-agent's convention: a command that succeeds and prints this as its first line ends the trajectory."""

LONGEST_LOOP = 4
"""Turns after which an agent that loops does the same again, at most."""


class SandboxEnvironment:
    """Runs mini-swe-agent's actions in a sandbox. InfrastructureFault passes through: it ends the trajectory."""

    config = None

    def __init__(
        self, sandbox: Sandbox, *, seconds: float | None, observation_chars: int, max_repeats: int = 0
    ) -> None:
        """`seconds` None leaves each command the sandbox's own limit; `max_repeats` 0 lets an agent loop."""
        self._max_repeats = max_repeats
        self._history: list[tuple[str, str]] = []
        self._sandbox = sandbox
        self._seconds = seconds
        self._observation_chars = observation_chars

    def execute(self, action: dict[str, Any], cwd: str = "") -> dict[str, Any]:
        """Run a command; mini-swe-agent's output dictionary. Raises its Submitted on submission."""
        result = self._sandbox.run(action["command"], seconds=self._seconds)
        first, _, rest = result.output.lstrip().partition("\n")
        if first.strip() == SUBMIT and result.returncode == 0:
            raise Submitted(
                {"role": "exit", "content": rest, "extra": {"exit_status": "Submitted", "submission": rest}}
            )
        seen = observation(result.output, self._observation_chars)
        self._stop_loops(action["command"], seen)
        return {
            "output": seen,
            "returncode": result.returncode,
            "exception_info": "timed out" if result.timed_out else "",
        }

    def _stop_loops(self, command: str, seen: str) -> None:
        self._history.append((command, seen))
        if self._max_repeats and any(self._repeated(turns) for turns in range(1, LONGEST_LOOP + 1)):
            extra = {"exit_status": LOOP, "submission": ""}
            raise LimitsExceeded({"role": "exit", "content": LOOP, "extra": extra})

    def _repeated(self, turns: int) -> bool:
        """Whether the last so many turns were taken `max_repeats` times, one time right after the other."""
        loop, size = self._history[-turns:], turns * self._max_repeats
        return len(self._history) >= size and self._history[-size:] == loop * self._max_repeats

    def get_template_vars(self, **kwargs: object) -> dict[str, object]:
        # Theirs offer the whole of os.environ to the prompt templates; a prompt must not depend on the machine.
        return kwargs

    def serialize(self) -> dict[str, object]:
        return {"info": {"config": {"environment_type": f"{type(self).__module__}.{type(self).__name__}"}}}
