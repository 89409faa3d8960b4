"""A vector in the plane."""

import math
from dataclasses import dataclass


def _snap(number, digits):
    """Round a number and turn a negative zero into zero."""
    rounded = round(number, digits)
    return 0.0 if rounded == 0 else rounded


@dataclass
class Vector:
    """A point or a direction with two coordinates."""

    across: float
    upward: float = 0.0

    def minus(self, other):
        """Return the vector that leads from other to this one."""
        return Vector(self.across - other.across, upward=self.upward - other.upward)

    def scaled(self, factor):
        """Return this vector stretched by factor."""
        return Vector(self.across * factor, upward=self.upward * factor)

    def length(self):
        """Return the distance from the origin."""
        return math.hypot(self.across, self.upward)

    def heading(self, digits=3):
        """Return the angle to the first axis in degrees, from -180 to 180."""
        degrees = math.degrees(math.atan2(self.upward, self.across))
        return _snap(degrees, digits)

    def turned(self, degrees, digits=6):
        """Return this vector turned counter-clockwise by an angle in degrees."""
        angle = math.radians(degrees)
        cosine, sine = math.cos(angle), math.sin(angle)
        across = self.across * cosine - self.upward * sine
        upward = self.across * sine + self.upward * cosine
        return Vector(_snap(across, digits), _snap(upward, digits))
