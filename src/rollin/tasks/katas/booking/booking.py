"""Seat booking for a small theatre."""

import re
from string import ascii_uppercase


def _label(letter, number):
    return f"{letter}{number}"


class Hall:
    """Rows of seats labelled A1, A2, ... from the front left."""

    def __init__(self, rows, width=10):
        self.rows = ascii_uppercase[:rows]
        self.width = width
        self.taken = {}

    def _check(self, label):
        match = re.fullmatch(r"([A-Z])([1-9]\d*)", label)
        if not match or match[1] not in self.rows or int(match[2]) > self.width:
            raise ValueError(f"no such seat: {label}")

    def free(self, letter):
        """Return the numbers of the free seats in a row."""
        labels = {_label(letter, number): number for number in range(1, self.width + 1)}
        return [number for label, number in labels.items() if label not in self.taken]

    def book(self, label, guest):
        """Give a seat to a guest; return False if somebody has it already."""
        self._check(label)
        holder = self.taken.setdefault(label, guest)
        return holder == guest

    def cancel(self, guest):
        """Free all seats of a guest and return their labels, sorted."""
        labels = [label for label, holder in self.taken.items() if holder == guest]
        for label in labels:
            del self.taken[label]
        return sorted(labels)

    def block(self, size=2):
        """Return the frontmost block of free neighbouring seats, or None."""
        for letter in self.rows:
            numbers = self.free(letter)
            for first, last in zip(numbers, numbers[size - 1 :], strict=False):
                if last - first == size - 1:
                    return [_label(letter, number) for number in range(first, last + 1)]
        return None
