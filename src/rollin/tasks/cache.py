"""Where rollin keeps what it can make again: repositories, downloads, built tasks."""

import hashlib
import os
from functools import cache
from pathlib import Path


def cache_folder() -> Path:
    """`$ROLLIN_CACHE`, or else `~/.cache/rollin` (`$XDG_CACHE_HOME/rollin`). Made when first needed."""
    own, shared = os.environ.get("ROLLIN_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(own) if own else Path(shared or Path.home() / ".cache") / "rollin"
    return folder.expanduser()


@cache
def code_version() -> str:
    """A digest of the code that makes tasks: what an earlier version made is not used again."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(__file__).with_name("faults")):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
