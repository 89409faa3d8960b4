"""A waiting room that calls the most urgent patient first."""

import heapq
from itertools import count


def _entry(urgency, ticket, patient):
    """Return a heap entry; equal urgencies keep the order of arrival."""
    return (-urgency, ticket, patient)


class Triage:
    """A priority queue in which a higher urgency goes first."""

    def __init__(self):
        self.heap = []
        self.tickets = count(start=1)

    def admit(self, patient, urgency=1):
        """Let a patient wait and return the number of the ticket."""
        ticket = next(self.tickets)
        heapq.heappush(self.heap, _entry(urgency, ticket, patient))
        return ticket

    def call_next(self):
        """Remove and return the most urgent patient."""
        if not self.heap:
            raise LookupError("nobody is waiting")
        return heapq.heappop(self.heap)[2]

    def foremost(self, limit=3):
        """Return the patients that would be called next, without removing them."""
        entries = heapq.nsmallest(limit, self.heap)
        return [patient for _, _, patient in entries]

    def waiting(self, urgency=0):
        """Return how many patients wait with at least this urgency."""
        return sum(-negated >= urgency for negated, _, _ in self.heap)

    def withdraw(self, patient):
        """Remove every entry of a patient and return how many there were."""
        staying = [entry for entry in self.heap if entry[2] != patient]
        removed = len(self.heap) - len(staying)
        heapq.heapify(staying)
        self.heap = staying
        return removed
