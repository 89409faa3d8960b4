"""Evaluate arithmetic expressions such as "2 * (x + 1)"."""

import operator
import re

SUMS = {"+": operator.add, "-": operator.sub}
PRODUCTS = {"*": operator.mul, "/": operator.truediv}


def _reduce(pieces, actions):
    value = float(pieces[0])
    for symbol, operand in zip(pieces[1::2], pieces[2::2], strict=True):
        value = actions[symbol](value, float(operand))
    return value


def flat_value(text):
    """Return the value of an expression without parentheses."""
    terms = re.split(r"(?<=[\w.])\s*([-+])", text)
    for index, term in enumerate(terms[::2]):
        factors = re.split(r"([*/])", term)
        terms[2 * index] = _reduce(factors, PRODUCTS)
    return _reduce(terms, SUMS)


def evaluate(text):
    """Return the value of an expression that may contain parentheses."""
    inner = re.search(r"\(([^()]*)\)", text)
    if inner is None:
        return flat_value(text)
    value = flat_value(inner.group(1))
    return evaluate(text[: inner.start()] + f"{value:f}" + text[inner.end() :])


def variables(text):
    """Return the distinct variable names in order of appearance."""
    return list(dict.fromkeys(re.findall(r"[a-z]\w*", text)))


def substitute(text, **values):
    """Replace the named variables by their values."""
    for name in variables(text):
        if name in values:
            text = re.sub(rf"\b{name}\b", str(values[name]), text)
    return text
