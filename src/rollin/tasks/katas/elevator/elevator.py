"""An elevator that serves requested floors one step at a time."""

from collections import deque
from itertools import pairwise


def _direction(origin, target):
    if origin == target:
        return "open"
    return "up" if origin < target else "down"


class Elevator:
    """A car in a building whose floors are numbered from zero."""

    def __init__(self, floors, start=0):
        self.floors = floors
        self.position = start
        self.pending = deque()

    def request(self, floor, urgent=False):
        """Queue a floor, in front of all others when urgent."""
        if not 0 <= floor < self.floors:
            raise ValueError(f"no such floor: {floor}")
        if floor in self.pending:
            self.pending.remove(floor)
        if urgent:
            self.pending.appendleft(floor)
        else:
            self.pending.append(floor)

    def state(self):
        """Return "idle", "open", "up" or "down"."""
        if not self.pending:
            return "idle"
        position, target = self.position, self.pending[0]
        return _direction(position, target)

    def step(self):
        """Move one floor or serve this one, and return the position."""
        current = self.state()
        if current == "open":
            self.pending.popleft()
        self.position += {"up": 1, "down": -1}.get(current, 0)
        return self.position

    def distance(self):
        """Return how many floors the car travels to serve all requests."""
        route = [self.position, *self.pending]
        return sum(abs(target - origin) for origin, target in pairwise(route))
