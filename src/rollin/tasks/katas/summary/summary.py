"""Describe a sample of numbers by a few figures."""

import math
from collections import Counter


def _between(lower, upper, share):
    """Return the value at a share of the way from lower to upper."""
    return lower + (upper - lower) * share


def mean(sample):
    """Return the average of a sample."""
    if not sample:
        raise ValueError("the sample is empty")
    return math.fsum(sample) / len(sample)


def quantile(sample, share=0.5):
    """Return the value below which a share of the sample lies; 0.5 is the median."""
    ordered = sorted(sample)
    position = share * (len(ordered) - 1)
    lower = ordered[math.floor(position)]
    upper = ordered[math.ceil(position)]
    return _between(lower, upper, position % 1)


def modes(sample):
    """Return the most frequent values in rising order."""
    counts = Counter(sample)
    highest = max(counts.values(), default=0)
    return sorted(value for value, count in counts.items() if count == highest)


def deviation(sample):
    """Return the standard deviation of a whole population."""
    centre = mean(sample)
    squares = [(value - centre) ** 2 for value in sample]
    return math.sqrt(mean(squares))


def middle_spread(sample):
    """Return the distance between the first and the third quartile."""
    return quantile(sample, share=0.75) - quantile(sample, share=0.25)
