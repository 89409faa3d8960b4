"""A bank account ledger with exact decimal amounts."""

from collections import defaultdict, namedtuple
from decimal import Decimal

Entry = namedtuple("Entry", ["amount", "memo"])


def _exceeds(balance, limit):
    return balance < -limit


class Account:
    """An account that may be overdrawn down to its limit."""

    def __init__(self, limit="0"):
        self.limit = Decimal(limit)
        self.entries = []

    def balance(self):
        """Return the sum of all entries."""
        return sum(entry.amount for entry in self.entries)

    def deposit(self, amount, memo="cash"):
        """Book money coming in."""
        value = Decimal(amount)
        if value <= 0:
            raise ValueError("a deposit must be positive")
        self.entries.append(Entry(value, memo))

    def withdraw(self, amount, memo="cash"):
        """Book money going out, within the overdraft limit."""
        value = Decimal(amount)
        balance, limit = self.balance() - value, self.limit
        if _exceeds(balance, limit):
            raise ValueError("overdraft limit exceeded")
        self.entries.append(Entry(-value, memo))

    def totals(self):
        """Return the net amount for each memo."""
        totals = defaultdict(Decimal)
        for entry in self.entries:
            totals[entry.memo] += entry.amount
        return dict(totals)


def transfer(source, target, amount):
    """Move an amount from one account to another."""
    source.withdraw(amount, memo="transfer")
    target.deposit(amount, memo="transfer")
