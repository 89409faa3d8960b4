"""A calculator for postfix notation, as in "3 4 + 2 *"."""

import math
import operator
import re

ACTIONS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def tokens(text):
    """Split an expression into numbers and action signs."""
    return re.findall(r"-?\d+(?:\.\d+)?|[-+*/]", text)


def _reduce(stack, action):
    """Replace the two topmost numbers by the result of an action."""
    if len(stack) < 2:
        raise ValueError("too few numbers")
    right, left = stack.pop(), stack.pop()
    stack.append(action(left, right))


def run_stack(text):
    """Return every number left on the stack after an expression."""
    stack = []
    for token in tokens(text):
        action = ACTIONS.get(token)
        if action:
            _reduce(stack, action)
        else:
            stack.append(float(token))
    return stack


def evaluate(text, digits=6):
    """Return the value of a complete expression, rounded to some digits."""
    stack = run_stack(text)
    if len(stack) != 1:
        raise ValueError(f"{len(stack)} numbers left")
    return round(stack[0], ndigits=digits)


def norm(text):
    """Return the Euclidean norm of the numbers left on the stack."""
    return math.hypot(*run_stack(text))
