"""pip, in a process of its own, told which Python it works for and how new a package may be."""

import os
import re
import subprocess
from pathlib import Path

from rollin.errors import Unavailable

DATED = 26
"""The first version of pip that knows `--uploaded-prior-to`."""
SECONDS = 3600.0
_EXCEPTION = re.compile(r"(?:(?:\w+\.)+[A-Z]\w+|\w*(?:Error|Exception)): \S")


def limits(before: str) -> list[str]:
    """The options for packages that were on the index before a day ("": whatever there is)."""
    return [f"--uploaded-prior-to={before}T00:00:00Z"] if before else []


def run(command: list[str], log: Path, cwd: Path | None = None) -> str:
    """What a command prints. Unavailable with the first thing that it says is wrong; `log` keeps all that it says."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTHON"))}
    env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_REQUIRE_VIRTUALENV": "0"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, errors="replace", timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{_named(command)} took more than {SECONDS:.0f} s") from error
    except OSError as error:
        raise Unavailable(f"cannot run {command[0]} ({error.strerror})") from error
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}\n")
    if done.returncode != 0:
        raise Unavailable(f"{_named(command)} failed: {_wrong(done.stdout + done.stderr)} (all of it is in {log})")
    return done.stdout


def _named(command: list[str]) -> str:
    return next((f"pip {word}" for word in command if word in ("install", "wheel")), " ".join(command[1:3]))


def _wrong(printed: str) -> str:
    """The line that says most: the exception that ended a build, or else pip's first own error, or the last line."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    raised = [line for line in lines if _EXCEPTION.match(line)]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (raised[-1:] or errors or lines[-1:] or ["it said nothing"])[0][:300]
