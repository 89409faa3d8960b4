"""Sort numbers into histogram bins."""

import json
from bisect import bisect_right
from pathlib import Path


def load_settings(filename="settings.json"):
    """Return the default edges and the look of a drawn histogram."""
    source = Path(__file__).with_name(filename)
    return json.loads(source.read_text(encoding="utf-8"))


def _bar(count, highest, settings):
    """Draw one bar, scaled so that the highest count fills the bar width."""
    length = round(settings["bar_width"] * count / highest) if highest else 0
    return settings["mark"] * length


def bin_index(value, edges):
    """Return the bin that holds value, or None when no bin does."""
    place = bisect_right(edges, value) - 1
    return place if 0 <= place < len(edges) - 1 else None


def tally(values, edges=None):
    """Count the values in each bin; a bin holds its lower edge only."""
    edges = edges or load_settings()["edges"]
    places = [bin_index(value, edges) for value in values]
    return [places.count(place) for place in range(len(edges) - 1)]


def draw(values):
    """Return one text line for each default bin, with its lower edge and a bar."""
    settings = load_settings()
    edges, width = settings["edges"], settings["label_width"]
    counts = tally(values)
    bars = [_bar(count, max(counts), settings) for count in counts]
    pairs = zip(edges, bars, strict=False)
    return [f"{edge:>{width}} {drawn}" for edge, drawn in pairs]


def fullest(values):
    """Return the lower and upper edge of the default bin that holds most values."""
    counts = tally(values)
    place = counts.index(max(counts))
    return tuple(load_settings()["edges"][place : place + 2])
