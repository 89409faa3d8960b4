"""Where rollin keeps what it can make again: repositories, downloads, built tasks."""

import hashlib
import importlib.metadata
import os
import sys
from functools import cache
from pathlib import Path

JUDGES = ("pytest", "libcst", "swebench")
"""The packages that make faults and say what tests did: another version may say otherwise."""


def cache_folder() -> Path:
    """Absolute: `$ROLLIN_CACHE`, or else `~/.cache/rollin` (`$XDG_CACHE_HOME/rollin`). Made when first needed."""
    own, shared = os.environ.get("ROLLIN_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(own) if own else Path(shared or Path.home() / ".cache") / "rollin"
    return folder.expanduser().absolute()


@cache
def code_version() -> str:
    """A digest of what makes and judges tasks, rollin's code and others': what an earlier version made is not used
    again."""
    digest = hashlib.sha256(" ".join([sys.version, *map(importlib.metadata.version, JUDGES)]).encode())
    tasks = Path(__file__).parent
    for folder in (tasks, tasks / "faults", tasks.parent / "sandboxes"):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
