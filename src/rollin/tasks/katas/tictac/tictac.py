"""Tic-tac-toe on a board written as nine characters, row by row."""

from collections import Counter
from textwrap import wrap

LINES = ("012", "345", "678", "036", "147", "258", "048", "246")


def _owns(board, mark, line):
    return all(board[int(cell)] == mark for cell in line)


def turn(board):
    """Return the mark that moves next; X begins."""
    counts = Counter(board)
    return "X" if counts["X"] == counts["O"] else "O"


def play(board, cell):
    """Return the board after the next mark is set on a free cell."""
    if board[cell] != ".":
        raise ValueError(f"cell {cell} is taken")
    mark = turn(board)
    return board[:cell] + mark + board[cell + 1 :]


def winner(board):
    """Return the mark with three in a row, "draw", or None if undecided."""
    for mark in "XO":
        if any(_owns(board, mark, line) for line in LINES):
            return mark
    counts = Counter(board)
    return None if counts["."] else "draw"


def winning_cells(board):
    """Return the cells where the next mark would win at once."""
    mark, free = turn(board), [cell for cell in range(9) if board[cell] == "."]
    return [cell for cell in free if winner(play(board, cell)) == mark]


def render(board, separator="|"):
    """Return the board as three lines of text."""
    return "\n".join(separator.join(cells) for cells in wrap(board, width=3))
