"""Breadth-first search over the stations of a small metro."""

import json
from collections import deque
from pathlib import Path


def load_network(filename="settings.json"):
    """Return the neighbours of each station, read beside this module."""
    text = Path(__file__).with_name(filename).read_text(encoding="utf-8")
    return json.loads(text)


def _explore(network, start):
    """Map each station within reach of start to the station before it."""
    before = {start: None}
    waiting = deque([start])
    while waiting:
        station = waiting.popleft()
        for neighbour in network[station]:
            if neighbour not in before:
                before[neighbour] = station
                waiting.append(neighbour)
    return before


def route(network, start, goal):
    """Return the stations of a shortest route, or an empty list without one."""
    before = _explore(network, start)
    stations = deque()
    station = goal if goal in before else None
    while station is not None:
        stations.appendleft(station)
        station = before[station]
    return list(stations)


def stops_between(network, start, goal):
    """Return the number of stops from start to goal, or -1 without a route."""
    return len(route(network, start, goal)) - 1


def unreachable(network, start):
    """Return the stations that no route from start leads to, by name."""
    reached = _explore(network, start)
    return sorted(set(network) - set(reached))
