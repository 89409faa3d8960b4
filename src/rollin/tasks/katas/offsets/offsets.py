"""Time zone offsets as minutes, with named zones in zones.json."""

import json
import re
from pathlib import Path

DAY = 24 * 60


def parse_offset(text):
    """Read an offset such as +05:30 or Z."""
    if text == "Z":
        return 0
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", text)
    if match is None:
        raise ValueError(f"not an offset: {text}")
    sign, hours, minutes = match.groups()
    total = _to_minutes(hours, minutes)
    return -total if sign == "-" else total


def format_offset(offset):
    """Write an offset with its sign."""
    sign = "-" if offset < 0 else "+"
    hours, minutes = divmod(abs(offset), 60)
    return f"{sign}{hours:02}:{minutes:02}"


def zone_offset(zone):
    """Look up the offset of a named zone."""
    zones = json.loads(Path(__file__).with_name("zones.json").read_text())
    return parse_offset(zones[zone])


def convert_clock(clock, source, target="UTC"):
    """Give a clock time in another zone and the days it moves."""
    hours, minutes = re.fullmatch(r"(\d\d):(\d\d)", clock).groups()
    moved = _to_minutes(hours, minutes) + zone_offset(target) - zone_offset(source)
    days, rest = divmod(moved, DAY)
    return f"{rest // 60:02}:{rest % 60:02}", days


def _to_minutes(hours, minutes):
    return int(hours) * 60 + int(minutes)
