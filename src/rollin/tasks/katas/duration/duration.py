"""Durations such as 1h30m, as whole seconds."""

import math
import re

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def is_duration(text):
    """Tell whether a text is a duration, with its units in order."""
    return re.fullmatch(r"(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+s)?", text) is not None


def parse_duration(text):
    """Read a duration into seconds."""
    if not is_duration(text):
        raise ValueError(f"not a duration: {text!r}")
    parts = re.findall(r"(\d+)([dhms])", text)
    return sum(int(amount) * UNITS[unit] for amount, unit in parts)


def format_duration(seconds, separator=""):
    """Write seconds as a duration without its empty units."""
    parts = []
    for unit, size in UNITS.items():
        amount, seconds = divmod(seconds, size)
        if amount > 0:
            parts.append(f"{amount}{unit}")
    return separator.join(parts) or "0s"


def round_up(text, unit):
    """Lengthen a duration to a whole number of some unit."""
    seconds = parse_duration(text)
    return _whole_units(seconds, unit) * UNITS[unit]


def add_durations(first, second, separator=" "):
    """Add two durations given as text."""
    total = parse_duration(first) + parse_duration(second)
    return format_duration(total, separator=separator)


def _whole_units(seconds, unit):
    return math.ceil(seconds / UNITS[unit])
