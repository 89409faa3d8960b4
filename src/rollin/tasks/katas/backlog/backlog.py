"""A first-in first-out queue that never grows past its capacity."""

import json
from collections import deque
from pathlib import Path


def _read_settings(**changes):
    """Return the settings beside this module, with changes laid over them."""
    text = Path(__file__).with_name("settings.json").read_text(encoding="utf-8")
    return json.loads(text) | changes


def _reaches(count, capacity, share=1.0):
    """Tell whether count fills at least a share of the capacity."""
    return count >= capacity * share


class Backlog:
    """Holds waiting items; a full backlog rejects new items or drops old ones."""

    def __init__(self, **changes):
        self.settings = _read_settings(**changes)
        self.items = deque()

    def put(self, item):
        """Add an item and return whether it was accepted."""
        if _reaches(len(self.items), self.settings["capacity"]):
            if self.settings["policy"] == "reject":
                return False
            self.items.popleft()
        self.items.append(item)
        return True

    def take(self, default=None):
        """Remove and return the oldest item, or default when there is none."""
        return self.items.popleft() if self.items else default

    def crowded(self):
        """Tell whether the backlog is close to its capacity."""
        count, capacity = len(self.items), self.settings["capacity"]
        return _reaches(count, capacity, share=self.settings["warn_share"])

    def room(self):
        """Return how many more items fit."""
        return self.settings["capacity"] - len(self.items)
