"""A traffic light that cycles through red, green and amber."""

from configparser import ConfigParser
from enum import Enum
from pathlib import Path


class Light(Enum):
    """The lights in the order in which they come on."""

    RED = "red"
    GREEN = "green"
    AMBER = "amber"


def load_timings(filename="timings.ini"):
    """Return the seconds for which each light stays on."""
    parser = ConfigParser()
    parser.read_string(Path(__file__).with_name(filename).read_text())
    section = parser["seconds"]
    return {light: section.getint(light.value) for light in Light}


def following(light):
    """Return the light that comes on after this one."""
    order = list(Light)
    position = order.index(light)
    return order[(position + 1) % len(order)]


def light_at(second, timings):
    """Return the light that is on, counting seconds from the start of a red."""
    remaining = second % sum(timings.values())
    for light in Light:
        if remaining < timings[light]:
            return light
        remaining -= timings[light]


def wait_for_green(second, timings):
    """Return the seconds a car arriving at this second waits for green."""
    light = light_at(second, timings)
    if light is Light.GREEN:
        return 0
    cycle = sum(timings.values())
    return (timings[Light.RED] - second) % cycle
