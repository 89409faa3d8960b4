"""Prime factors of whole numbers."""

import math
from collections import Counter


def _strip(number, prime, found):
    """Divide prime out of number, counting each division in found."""
    while number % prime == 0:
        number //= prime
        found[prime] += 1
    return number


def factorize(number, start=2):
    """Return a Counter that maps each prime factor to its exponent."""
    if number < 1:
        raise ValueError(f"not a positive number: {number}")
    found = Counter()
    for prime in range(start, math.isqrt(number) + 1):
        number = _strip(number, prime, found)
    if number > 1:
        found[number] += 1
    return found


def is_prime(number):
    """Tell whether number has exactly one prime factor."""
    return factorize(number).total() == 1


def divisor_count(number):
    """Return how many whole numbers divide number."""
    exponents = factorize(number).values()
    return math.prod(exponent + 1 for exponent in exponents)


def common_divisor(first, second):
    """Return the greatest common divisor, built from shared prime factors."""
    shared = factorize(first) & factorize(second)
    return math.prod(shared.elements())


def radical(number):
    """Return the product of the distinct prime factors."""
    return math.prod(factorize(number))
