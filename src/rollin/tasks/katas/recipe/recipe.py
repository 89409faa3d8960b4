"""Put the steps of a recipe in an order that respects what each step needs."""

from collections import Counter
from itertools import pairwise


def _release(pending, needs, finished):
    """Strike a finished step off the counts and return the steps that became free."""
    waiting = [step for step in pending if finished in needs[step]]
    pending.subtract(waiting)
    return [step for step in waiting if pending[step] == 0]


def arrange(needs):
    """Return all steps in order, by name where several are possible."""
    pending = Counter({step: len(needs[step]) for step in needs})
    ready = sorted(step for step in needs if not needs[step])
    ordered = []
    while ready:
        step = ready.pop(0)
        ordered.append(step)
        ready = sorted(ready + _release(pending, needs, finished=step))
    if len(ordered) < len(needs):
        raise ValueError("the steps need each other")
    return ordered


def is_valid(needs, ordered):
    """Tell whether no step comes before one that it needs."""
    places = {step: place for place, step in enumerate(ordered)}
    return all(places[need] < places[step] for step in needs for need in needs[step])


def final_steps(needs):
    """Return the steps that no other step needs, by name."""
    needed = {need for step in needs for need in needs[step]}
    return sorted(set(needs) - needed)


def chain(*steps):
    """Build the needs of steps that follow one another."""
    needs = {step: set() for step in steps}
    for earlier, later in pairwise(steps):
        needs[later].add(earlier)
    return needs
