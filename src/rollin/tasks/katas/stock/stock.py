"""Inventory levels checked against the limits in limits.json."""

import json
import math
from pathlib import Path


def load_limits(filename="limits.json"):
    """Return the minimum, maximum and pack size of every item."""
    return json.loads(Path(__file__).with_name(filename).read_text())


def _packs(missing, pack):
    return math.ceil(missing / pack)


def shortages(levels, limits):
    """Return the sorted items whose level is below the minimum."""
    return sorted(
        item for item, limit in limits.items() if levels.get(item, 0) < limit["minimum"]
    )


def order(levels, limits):
    """Return how many packs bring each short item up to its minimum."""
    packs = {}
    for item in shortages(levels, limits):
        missing = limits[item]["minimum"] - levels.get(item, 0)
        pack = limits[item]["pack"]
        packs[item] = _packs(missing, pack)
    return packs


def receive(levels, limits, item, amount=1):
    """Return the new levels and the amount that found no room."""
    total = levels.get(item, 0) + amount
    kept = min(total, limits[item]["maximum"])
    return {**levels, item: kept}, total - kept


def fill_rate(levels, limits):
    """Return the fullest item and its level in percent of the maximum."""
    rates = {
        item: math.floor(100 * levels.get(item, 0) / limit["maximum"])
        for item, limit in limits.items()
    }
    fullest = max(rates, key=rates.get)
    return fullest, rates[fullest]
