"""What a sandbox is: the isolated workspace in which one trajectory's commands run."""

import os
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import psutil
from pydantic import BaseModel, ConfigDict, Field

TEMPLATE = "/var/lib/repo.git"
"""Where every sandbox keeps a bare repository whose `main` is the commit that the agent starts from."""

_SEATS = threading.BoundedSemaphore(2 * (os.cpu_count() or 1))
LOOK = 0.25
"""Seconds between two looks at whether those who have a seat compute."""


@contextmanager
def seated() -> Iterator[None]:
    """Wait for a seat: there are two for each processor, over all sandboxes. More commands at once would take each
    other's time, and a command's limit is to measure the command, not the crowd: with 24 trajectories on 2 cores, tests
    that take 3 seconds alone ran out of 20. Where half a processor is idle, the others sleep, and one more may stand.
    """
    has_seat, idle = _SEATS.acquire(blocking=False), 0.0
    while not has_seat and idle < LOOK / 2:
        before = psutil.cpu_times().idle
        has_seat = _SEATS.acquire(timeout=LOOK)
        idle = psutil.cpu_times().idle - before
    try:
        yield
    finally:
        if has_seat:
            _SEATS.release()


class Limits(BaseModel):
    """What one trajectory may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(default=20.0, gt=0)
    """Wall time of one command."""
    memory_mb: int = Field(default=1024, gt=0)
    """Memory of a process, and of the whole workspace where the system can enforce it."""
    processes: int = Field(default=128, gt=0)
    output_kb: int = Field(default=64, gt=0)
    """What one command may print; the rest is dropped, head and tail are kept."""
    disk_mb: int = Field(default=256, gt=0)
    """What the workspace and /tmp may hold together. In a container: the largest file, and a quarter of it /tmp."""
    cpus: float = Field(default=2.0, gt=0)
    """Processors that one trajectory may keep busy. Containers only."""


@dataclass(frozen=True)
class CommandResult:
    """What a command did. A timeout or a kill is a result too: the agent's doing, not a fault."""

    output: str
    """stdout and stderr together, as they came."""
    returncode: int
    """The exit status; 124 after a timeout."""
    timed_out: bool = False
    truncated: bool = False
    seconds: float = 0.0
    killed: bool = False
    """Whether the sandbox ended it because it passed the limit of memory, processes or files. In a container the kernel
    does that, and says so to nobody."""


def as_bytes(text: str) -> bytes:
    """A command or a patch as a sandbox gets it. What UTF-8 can't hold, and JSON can, becomes a question mark."""
    try:
        encoded = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        encoded = text.encode(errors="replace")
    return encoded.replace(b"\0", b"")


def writing(path: str) -> str:
    """The command that writes its stdin into a file."""
    target = shlex.quote(path)
    return f'mkdir -p "$(dirname {target})" && cat > {target}'


class Sandbox(Protocol):
    """A fresh copy of a task's repository, at its base commit on branch `main`, and a shell in it. Closes at the end of
    a `with`."""

    def run(self, command: str, *, seconds: float | None = None, waits: bool = False) -> CommandResult:
        """Run `command` by bash in the repository. Raises InfrastructureFault if the sandbox itself failed.

        `waits` says that it mostly waits for others, and need not be kept from running beside many.
        """
        ...

    def write(self, path: str, content: bytes) -> None:
        """Write a file of the repository, from outside (grading puts test files back with it)."""
        ...

    def close(self) -> None:
        """End every process and free the workspace. Safe to call twice."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
