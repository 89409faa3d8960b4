"""Control groups: a bound on what a sandbox holds that counts what no process shows, too.

Home    where this process may make groups: below its own in version 1; in version 2 beside its own, since a group with
        processes shares out nothing (the root of all does)
Group   one sandbox's; gone when it is closed
"""

import itertools
import os
import re
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
PREFIX = "rollin-"
PATIENCE = 2.0
"""Seconds in which the kernel has buried a group's processes."""
_numbers = itertools.count()


@dataclass(frozen=True)
class Home:
    """A folder for groups, and what the files in each are called."""

    place: Path
    limit: str
    with_swap: str
    """May be missing. Version 1 counts memory and swap together, version 2 swap alone."""
    events: str


@cache
def home() -> Home | None:
    """None where this process may make no group whose memory it can bound: control groups belong to root, or to whom
    it gave some."""
    own = OWN.read_text() if OWN.exists() else ""
    homes = []
    if found := re.search(r"^\d+:(?:\w+,)*memory(?:,\w+)*:/(.*)$", own, re.MULTILINE):
        files = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"
        homes.append(Home(MOUNTED / "memory" / found[1], *files))
    if found := re.search(r"^0::/(.*)$", own, re.MULTILINE):
        place = (MOUNTED / found[1]).parent if found[1] else MOUNTED
        homes.append(Home(place, "memory.max", "memory.swap.max", "memory.events"))
    return next((each for each in homes if _serves(each)), None)


def _serves(candidate: Home) -> bool:
    """Whether groups can be made and entered there; those that a killed process left are removed."""
    if not (candidate.place / "cgroup.procs").is_file():  # a folder of another kind, where both versions are in use
        return False
    for left in candidate.place.glob(f"{PREFIX}*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            with suppress(OSError):
                left.rmdir()
    try:
        group = Group(candidate, 1 << 30)
    except (OSError, ValueError):
        return False
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            group.enter(process.pid)
        except OSError:
            return False
        finally:
            process.kill()
            process.wait()
            group.close()
    return True


class Group:
    """Bounds the memory of the processes that enter it: theirs, what they keep in files in memory, and the kernel's."""

    def __init__(self, home: Home, memory: int) -> None:
        """`memory` is in bytes. OSError where it can't be made."""
        self._events = home.place / f"{PREFIX}{os.getpid()}-{next(_numbers)}" / home.events
        self._place = self._events.parent
        self._place.mkdir()
        try:
            (self._place / home.limit).write_text(str(memory))
            if (swap := self._place / home.with_swap).exists():
                swap.write_text(str(memory) if home.with_swap.startswith("memory.memsw") else "0")
            self.kills()
        except (OSError, ValueError):
            with suppress(OSError):
                self._place.rmdir()
            raise

    def enter(self, pid: int) -> None:
        """Have a process in the group, with all that it will start. OSError where it can't be moved.

        The kernel takes some 10 ms to move one, and waits most of them.
        """
        (self._place / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """How many of its processes the kernel has killed for the bound so far. ValueError where it doesn't count."""
        found = re.search(r"^oom_kill (\d+)$", self._events.read_text(), re.MULTILINE)
        if not found:
            raise ValueError(f"{self._events} counts no kills")
        return int(found[1])

    def close(self) -> None:
        """Remove it, once its processes are dead. What stays behind is removed by the next run."""
        end = time.monotonic() + PATIENCE
        while self._place.exists() and time.monotonic() < end:
            try:
                self._place.rmdir()
            except OSError:
                time.sleep(0.002)
