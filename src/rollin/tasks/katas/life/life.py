"""Conway's game of life on an endless grid of (line, column) cells."""

from collections import Counter
from itertools import product


def parse(text, alive="#"):
    """Return the set of living cells drawn in the text."""
    return {
        (line, column)
        for line, marks in enumerate(text.split("/"))
        for column, mark in enumerate(marks)
        if mark == alive
    }


def neighbours(cell):
    """Return the eight cells around a cell."""
    line, column = cell
    shifts = product((-1, 0, 1), repeat=2)
    return [(line + down, column + right) for down, right in shifts if down or right]


def _lives(cell, cells, count):
    return count == 3 or (count == 2 and cell in cells)


def advance(cells, generations=1):
    """Return the living cells after some generations."""
    for _ in range(generations):
        counts = Counter(near for cell in cells for near in neighbours(cell))
        cells = {cell for cell, count in counts.items() if _lives(cell, cells, count)}
    return cells


def is_still(cells):
    """Return whether the next generation is the same."""
    return advance(cells) == cells


def size(cells):
    """Return the height and width of the area the cells span."""
    if not cells:
        return (0, 0)
    lines, columns = zip(*cells, strict=True)
    return (max(lines) - min(lines) + 1, max(columns) - min(columns) + 1)
