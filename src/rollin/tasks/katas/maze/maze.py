"""Find the shortest way through a maze drawn as lines of text."""

from collections import deque
from configparser import ConfigParser
from pathlib import Path


def load_signs(filename="settings.ini"):
    """Return the letters that stand for a wall, the entry and the exit."""
    parser = ConfigParser()
    parser.read(Path(__file__).with_name(filename), encoding="utf-8")
    return dict(parser["signs"])


def open_cells(lines, wall):
    """Map the row and column of every cell that is no wall to its letter."""
    cells = {}
    for down, line in enumerate(lines):
        for right, cell in enumerate(line):
            cells[down, right] = cell
    return {place: cell for place, cell in cells.items() if cell != wall}


def _neighbours(place, cells):
    """Return the open cells above, below, left and right of a place."""
    down, right = place
    upright = [(down - 1, right), (down + 1, right)]
    sideways = [(down, right - 1), (down, right + 1)]
    return [spot for spot in upright + sideways if spot in cells]


def shortest_path(lines):
    """Return the places from entry to exit, or None when walls block the way."""
    signs = load_signs()
    cells = open_cells(lines, wall=signs["wall"])
    paths = deque([spot] for spot in cells if cells[spot] == signs["entry"])
    while paths:
        path = paths.popleft()
        letter = cells.pop(path[-1], None)
        if letter == signs["exit"]:
            return path
        paths.extend(path + [spot] for spot in _neighbours(path[-1], cells) if letter)
    return None


def dead_ends(lines):
    """Return the open places with a single open neighbour."""
    cells = open_cells(lines, wall=load_signs()["wall"])
    return [place for place in cells if len(_neighbours(place, cells)) == 1]
