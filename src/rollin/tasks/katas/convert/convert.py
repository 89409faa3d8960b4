"""Convert temperatures and lengths with the units in units.json."""

import json
import re
from pathlib import Path


def load_units(filename="units.json"):
    """Return the kind, factor and offset of each unit by its name."""
    return json.loads(Path(__file__).with_name(filename).read_text())


def _to_base(value, unit):
    return (value + unit.get("offset", 0)) * unit["factor"]


def _from_base(value, unit):
    return value / unit["factor"] - unit.get("offset", 0)


def convert(value, source, target, digits=2):
    """Return the value in the target unit, rounded to some digits."""
    units = load_units()
    origin, wanted = units[source], units[target]
    if origin["kind"] != wanted["kind"]:
        raise ValueError(f"cannot convert {source} to {target}")
    base = _to_base(value, origin)
    return round(_from_base(base, wanted), ndigits=digits)


def parse(text):
    """Return the number and the unit in a text such as "12.5 inch"."""
    match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([a-z]+)\s*", text)
    if match is None:
        raise ValueError(f"not a quantity: {text!r}")
    return float(match[1]), match[2]


def compatible(name):
    """Return the other units that a unit can be converted to, sorted."""
    units = load_units()
    kind = units.pop(name)["kind"]
    return sorted(other for other, unit in units.items() if unit["kind"] == kind)
