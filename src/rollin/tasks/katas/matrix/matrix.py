"""Small dense matrices stored as lists of rows."""

from operator import add, mul


def _combine(first, second, action):
    """Apply action to two lines of equal length, item by item."""
    return [action(left, right) for left, right in zip(first, second, strict=True)]


def transpose(matrix):
    """Return the matrix with its rows turned into columns."""
    return [list(column) for column in zip(*matrix, strict=True)]


def plus(first, second):
    """Return the sum of two matrices of the same shape."""
    pairs = zip(first, second, strict=True)
    return [_combine(upper, lower, add) for upper, lower in pairs]


def times(first, second):
    """Return the matrix product of first and second."""
    columns = transpose(second)
    return [[sum(_combine(line, column, mul)) for column in columns] for line in first]


def identity(size, value=1):
    """Return a square matrix with value on its diagonal and 0 elsewhere."""
    places = range(size)
    return [[value if down == across else 0 for across in places] for down in places]


def determinant(matrix):
    """Return the determinant, expanding along the first row."""
    if not matrix:
        return 1
    head, *tail = matrix
    total = 0
    for place, entry in enumerate(head):
        minor = [line[:place] + line[place + 1 :] for line in tail]
        total += (-1) ** place * entry * determinant(minor)
    return total
