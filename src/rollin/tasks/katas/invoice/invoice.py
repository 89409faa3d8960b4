"""Invoices with a tax rate for each category, taken from rates.json."""

import json
import math
from collections import Counter
from pathlib import Path


class Invoice:
    """Invoice lines with prices in cents before tax."""

    def __init__(self, customer):
        path = Path(__file__).with_name("rates.json")
        self.rates = json.loads(path.read_text())
        self.customer = customer
        self.nets = Counter()

    def add(self, price, count=1, category="standard"):
        """Add some items of one price."""
        if category not in self.rates:
            raise ValueError(f"no tax rate for {category}")
        self.nets[category] += price * count

    def net(self):
        """Sum up the prices before tax."""
        return sum(self.nets.values())

    def tax(self, category):
        """Work out the tax for one category."""
        amount, rate = self.nets[category], self.rates[category]
        return _tax_on(amount, rate)

    def total(self, discount=0):
        """Sum up prices and tax, less a discount that cannot exceed them."""
        taxes = sum(self.tax(category) for category in self.nets)
        return max(self.net() + taxes - discount, 0)

    def summary(self):
        """Describe the invoice in one line."""
        units, cents = divmod(self.total(), 100)
        return f"{self.customer} owes {units}.{cents:02}"


def _tax_on(amount, rate):
    return math.floor(amount * rate / 100 + 0.5)
