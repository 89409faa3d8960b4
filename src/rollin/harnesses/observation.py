"""What of a command's output an agent gets to see."""

import re

_TIMING = re.compile(r"\bin \d+\.\d+s(?: \(\d+:\d\d:\d\d\))?")
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}\b")


def observation(output: str, limit: int) -> str:
    """An output as the agent sees it: at most about `limit` characters, and the same whenever the command is.

    How long the tests took and where an object lies differ from run to run and tell an agent nothing. With them
    out, trajectories that do the same share their states, and a resumed one reaches exactly those it had reached.
    """
    text = _ADDRESS.sub("at 0x0", _TIMING.sub("in 0.00s", output)).strip("\n")
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... ({len(text) - 2 * half} characters left out) ...\n{text[-half:]}"
