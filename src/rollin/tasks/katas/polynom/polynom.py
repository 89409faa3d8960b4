"""Polynomials as lists of coefficients, the constant term first."""

from functools import reduce
from itertools import zip_longest


def _trim(terms, least=1):
    """Drop zeros at the high end but keep at least one term."""
    kept = list(terms)
    while len(kept) > least and kept[-1] == 0:
        kept.pop()
    return kept


def _shift(terms, places):
    """Multiply a polynomial by a power of the unknown."""
    return [0] * places + list(terms)


def plus(first, second):
    """Return the sum of two polynomials."""
    pairs = zip_longest(first, second, fillvalue=0)
    return _trim(left + right for left, right in pairs)


def times(first, second):
    """Return the product of two polynomials."""
    product = [0]
    for power, factor in enumerate(first):
        scaled = [factor * term for term in second]
        product = plus(product, _shift(scaled, power))
    return product


def value_at(terms, point):
    """Evaluate a polynomial at a point by Horner's rule."""
    return reduce(lambda total, term: total * point + term, reversed(terms), 0)


def derivative(terms):
    """Return the derivative of a polynomial."""
    slopes = [power * term for power, term in enumerate(terms)]
    return _trim(slopes[1:] or [0])


def degree(terms):
    """Return the highest power with a coefficient other than zero."""
    return len(_trim(terms)) - 1
