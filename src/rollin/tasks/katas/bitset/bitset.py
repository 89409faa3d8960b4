"""A set of small whole numbers packed into the bits of one integer."""

import operator
from functools import reduce


def _shifted(numbers):
    """Return the integer whose bits at the given numbers are set."""
    return reduce(operator.or_, (1 << number for number in numbers), 0)


def _common(first, second, action=operator.and_):
    """Combine the bits of two sets into a new set."""
    return BitSet.from_bits(action(first.bits, second.bits))


class BitSet:
    """Holds numbers from 0 upwards."""

    def __init__(self, *numbers):
        self.bits = _shifted(numbers)

    @staticmethod
    def from_bits(bits):
        """Return the set that an integer stands for."""
        created = BitSet()
        created.bits = bits
        return created

    def numbers(self):
        """Return the numbers in the set in rising order."""
        places = range(self.bits.bit_length())
        return [place for place in places if self.bits >> place & 1]

    def toggle(self, number):
        """Add a number or remove it, and return whether it is in the set now."""
        self.bits ^= _shifted([number])
        return self.bits & _shifted([number]) != 0

    def shared(self, other):
        """Return the numbers that are in both sets, as a set."""
        return _common(self, other)

    def joined(self, other):
        """Return the numbers that are in either set, as a set."""
        return _common(self, other, action=operator.or_)

    def covers(self, other):
        """Tell whether every number of other is in this set too."""
        return self.shared(other).bits == other.bits
