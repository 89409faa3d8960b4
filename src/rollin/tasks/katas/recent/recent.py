"""A cache that forgets the least recently used entry first."""

from collections import OrderedDict
from configparser import ConfigParser
from pathlib import Path


def _shrink(entries, capacity):
    """Drop the oldest entries until the rest fit and return the dropped keys."""
    dropped = []
    while len(entries) > capacity:
        oldest, _ = entries.popitem(last=False)
        dropped.append(oldest)
    return dropped


class RecentCache:
    """An LRU cache with its options in settings.ini."""

    def __init__(self, capacity=None):
        parser = ConfigParser()
        parser.read(Path(__file__).with_name("settings.ini"), encoding="utf-8")
        self.options = parser["cache"]
        self.capacity = capacity or self.options.getint("capacity")
        self.entries = OrderedDict()

    def store(self, label, content):
        """Keep content under a label and return the labels dropped for it."""
        entries, capacity = self.entries, self.capacity
        entries[label] = content
        entries.move_to_end(label)
        return _shrink(entries, capacity)

    def fetch(self, label):
        """Return the content under a label, or the configured missing text."""
        if label in self.entries and self.options.getboolean("touch_on_read"):
            self.entries.move_to_end(label)
        return self.entries.get(label, self.options["missing"])

    def resize(self, capacity):
        """Change the capacity and return the labels dropped for it."""
        self.capacity = capacity
        return _shrink(self.entries, capacity)

    def labels(self, newest_first=True):
        """List the labels by how recently they were used."""
        return list(reversed(self.entries)) if newest_first else list(self.entries)
