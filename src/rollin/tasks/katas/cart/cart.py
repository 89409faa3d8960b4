"""A shopping cart with the discounts of discounts.json."""

import json
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

DISCOUNTS = json.loads(Path(__file__).with_name("discounts.json").read_text())


def _reduce(amount, percent):
    reduced = amount * (100 - percent) / 100
    return reduced.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


class Cart:
    """Items with unit prices and quantities."""

    def __init__(self):
        self.lines = {}

    def add(self, item, price, quantity=1):
        """Put items into the cart and return their new quantity."""
        _, present = self.lines.get(item, (None, 0))
        self.lines[item] = (Decimal(price), present + quantity)
        return present + quantity

    def subtotal(self):
        """Return the sum of all lines after bulk discounts."""
        bulk, goods = DISCOUNTS["bulk"], Decimal("0.00")
        for price, quantity in self.lines.values():
            percent = bulk["percent"] if quantity >= bulk["quantity"] else 0
            amount = price * quantity
            goods += _reduce(amount, percent)
        return goods

    def shipping(self):
        """Return the shipping fee, which large orders do not pay."""
        terms = DISCOUNTS["shipping"]
        is_free = self.subtotal() >= Decimal(terms["free_from"])
        return Decimal("0.00") if is_free else Decimal(terms["fee"])

    def total(self, code=None):
        """Return the price to pay, with a discount code on the goods."""
        goods, percent = self.subtotal(), DISCOUNTS["codes"].get(code, 0)
        return _reduce(goods, percent) + self.shipping()
