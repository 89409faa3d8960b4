"""A week of appointments in whole hours."""

from bisect import insort
from collections import defaultdict


class WeekPlan:
    """Appointments for each weekday, sorted by start."""

    def __init__(self, opening=9, closing=17):
        self.opening = opening
        self.closing = closing
        self.entries = defaultdict(list)

    def is_free(self, weekday, start, finish):
        """Tell whether the hours are within the day and not taken."""
        if start < self.opening or finish > self.closing:
            return False
        taken = [(first, last) for first, last, _ in self.entries[weekday]]
        return not any(_overlap((start, finish), span) for span in taken)

    def book(self, weekday, start, finish, title="busy"):
        """Add an appointment, unless its hours are not free."""
        if not self.is_free(weekday, start, finish):
            raise ValueError(f"{weekday} {start}-{finish} is not free")
        insort(self.entries[weekday], (start, finish, title))

    def titles(self, weekday):
        """List the titles of a day in order of time."""
        return [title for _, _, title in self.entries[weekday]]

    def load(self, weekday):
        """Count the hours taken on a day."""
        return sum(finish - start for start, finish, _ in self.entries[weekday])

    def first_gap(self, weekday, hours):
        """Find the first hour from which some hours are free."""
        for start in range(self.opening, self.closing):
            if self.is_free(weekday, start, finish=start + hours):
                return start
        return None


def _overlap(first, second):
    return first[0] < second[1] and second[0] < first[1]
