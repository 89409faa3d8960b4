"""A ring buffer of readings that overwrites the oldest one."""

from itertools import islice
from statistics import fmean


def _wrap(position, capacity):
    """Return the slot that a running position falls into."""
    return position % capacity


class RingBuffer:
    """Keeps the latest readings in a list of fixed size."""

    def __init__(self, capacity=3):
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self.slots = [None] * capacity
        self.written = 0

    def push(self, reading):
        """Store a reading and return the one it replaced, if any."""
        place = _wrap(self.written, len(self.slots))
        replaced = self.slots[place]
        self.slots[place] = reading
        self.written += 1
        return replaced

    def ordered(self):
        """Return the stored readings, the oldest first."""
        capacity = len(self.slots)
        oldest = max(0, self.written - capacity)
        places = range(oldest, self.written)
        return [self.slots[_wrap(place, capacity)] for place in places]

    def latest(self, amount=1):
        """Return up to amount readings, the newest first."""
        return list(islice(reversed(self.ordered()), amount))

    def average(self, default=0.0):
        """Return the mean of the stored readings, or default without any."""
        readings = self.ordered()
        return fmean(readings) if readings else default

    @property
    def full(self):
        """Tell whether the next reading will overwrite an older one."""
        return self.written >= len(self.slots)
