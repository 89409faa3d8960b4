"""What comes out of a container's processes, read with a deadline."""

import os
import select
import time
from collections.abc import Callable

from rollin.sandboxes.init import Capture

LAST_WORDS = 2000
"""Bytes of what did not match that are kept, to say what happened."""


def pour(descriptor: int, sink: Callable[[bytes], object], deadline: float) -> bool:
    """Read into `sink` until the end (True), until the sink says True, or until the deadline (False)."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    while poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        data = os.read(descriptor, 1 << 16)
        if not data or sink(data) is True:
            return True
        if time.monotonic() >= deadline:  # a stream that never pauses is always ready
            break
    return False


class Announced:
    """A capture of what follows an announcement; what came before it are the engine's own words."""

    def __init__(self, limit: int, announcement: bytes) -> None:
        self.capture = Capture(limit)
        self._announcement = announcement
        self._before = b""
        self.begun = False

    def add(self, data: bytes) -> bool:
        """Whether this held the announcement."""
        if self.begun:
            self.capture.add(data)
            return False
        before, found, after = (self._before + data).partition(self._announcement)
        self._before = before[-LAST_WORDS:]
        if found:
            self.begun = True
            self.capture.add(after)
        return self.begun

    @property
    def words(self) -> str:
        """What the engine said, where the command has not begun."""
        return self._before.decode(errors="replace").strip()


class Answers:
    """Waits for lines of one process. Others are passed over: a container's processes may write there, too."""

    def __init__(self) -> None:
        self._seen = b""

    def until(self, descriptor: int, line: bytes, deadline: float) -> bool:
        """Whether the line came."""
        found = False

        def look(data: bytes) -> bool:
            nonlocal found
            before, newline, after = (self._seen + data).partition(line + b"\n")
            found = bool(newline)
            self._seen = after if found else before[-LAST_WORDS:]
            return found

        pour(descriptor, look, deadline)
        return found

    @property
    def words(self) -> str:
        """What came instead."""
        return self._seen.decode(errors="replace").strip()
