"""A vending machine that sells the items in prices.json."""

import json
from pathlib import Path

COINS = (200, 100, 50, 20, 10, 5)


def make_change(amount, coins=COINS):
    """Return the fewest coins that add up to the amount, largest first."""
    change = []
    for coin in coins:
        count, amount = divmod(amount, coin)
        change.extend([coin] * count)
    return change


def _missing(price, credit):
    return max(price - credit, 0)


class Machine:
    """A machine holding the credit of one customer, in cents."""

    def __init__(self):
        content = Path(__file__).with_name("prices.json").read_text()
        self.prices = json.loads(content)
        self.credit = 0

    def insert(self, coin):
        """Take a coin and return the new credit."""
        if coin not in COINS:
            raise ValueError(f"unknown coin: {coin}")
        self.credit += coin
        return self.credit

    def affordable(self):
        """Return the items the credit pays for, in alphabetical order."""
        prices = self.prices.items()
        return sorted(item for item, price in prices if price <= self.credit)

    def buy(self, item):
        """Sell one item and return the change as coins."""
        price, credit = self.prices[item], self.credit
        missing = _missing(price, credit)
        if missing:
            raise ValueError(f"{missing} more cents needed")
        self.credit = 0
        return make_change(credit - price)
