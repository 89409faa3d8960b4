"""git, as rollin's own repositories want it: deaf to what the user has configured."""

import os
import re
import subprocess
from pathlib import Path

from rollin.errors import InfrastructureFault, UserError

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A commit's full id."""


def git(repository: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """What git prints there (`repository` is its git directory). UserError without git, InfrastructureFault where it
    failed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_DIR": str(repository.absolute()), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    try:
        done = subprocess.run(["git", *arguments], cwd=repository, env=env, input=stdin, capture_output=True)
    except FileNotFoundError as error:
        raise UserError("git was not found: install it with `apt-get install -y git`") from error
    if done.returncode != 0:
        failed = next(word for word in arguments if word != "-c" and "=" not in word)
        raise InfrastructureFault(f"git {failed} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def can_hold(path: str) -> bool:
    """Whether a repository can hold a file of this path: below its root, and not below `.git`."""
    return "\0" not in path and not {"", ".", "..", ".git"} & {part.lower() for part in path.split("/")}
