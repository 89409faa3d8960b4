"""Merge and compare half-open spans, each a (start, stop) pair."""

from itertools import pairwise


def _touches(earlier, later, slack):
    """Tell whether later starts no more than slack after the end of earlier."""
    return later[0] - earlier[1] <= slack


def merged(spans, slack=0):
    """Join spans that overlap or lie within slack of one another."""
    joined = []
    for span in sorted(spans):
        if joined and _touches(joined[-1], span, slack):
            start, stop = joined.pop()
            span = (start, max(stop, span[1]))
        joined.append(span)
    return joined


def covered(spans):
    """Return the total length of the spans, counting overlaps once."""
    return sum(stop - start for start, stop in merged(spans))


def gaps(spans):
    """Return the spans that lie between the given ones."""
    pairs = pairwise(merged(spans))
    return [(earlier[1], later[0]) for earlier, later in pairs]


def overlap(first, second):
    """Return the span shared by two spans, or None when there is none."""
    start = max(first[0], second[0])
    stop = min(first[1], second[1])
    return (start, stop) if start < stop else None


def longest(spans, default=None):
    """Return the longest span, the earliest of several, or default."""
    return max(sorted(spans), key=lambda span: span[1] - span[0], default=default)
