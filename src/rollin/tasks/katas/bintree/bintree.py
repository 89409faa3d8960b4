"""An unbalanced binary search tree without duplicates."""

from dataclasses import dataclass
from itertools import takewhile


@dataclass
class Node:
    """A value with the subtrees of lesser and greater values."""

    value: object
    lesser: "Node | None" = None
    greater: "Node | None" = None


def _side(node, value):
    """Return the name of the subtree of node that value belongs to."""
    return "lesser" if value < node.value else "greater"


def insert(root, value):
    """Add a value and return the root of the tree."""
    if root is None:
        return Node(value=value)
    if value != root.value:
        side = _side(root, value)
        setattr(root, side, insert(getattr(root, side), value))
    return root


def in_order(root):
    """Return all values in rising order."""
    if root is None:
        return []
    return in_order(root.lesser) + [root.value] + in_order(root.greater)


def depth_of(root, value):
    """Return the number of steps from the root to a value, or None."""
    depth = 0
    while root is not None and root.value != value:
        root = getattr(root, _side(root, value))
        depth += 1
    return None if root is None else depth


def below(root, limit):
    """Return the values less than limit in rising order."""
    return list(takewhile(lambda value: value < limit, in_order(root)))
