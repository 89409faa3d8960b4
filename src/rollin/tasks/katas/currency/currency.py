"""Currency conversion with the rates to the euro in table.ini."""

from configparser import ConfigParser
from decimal import Decimal
from pathlib import Path


def load_table():
    """Read the sections of the currency table."""
    table = ConfigParser()
    table.read(Path(__file__).with_name("table.ini"), encoding="utf-8")
    return table


def round_money(amount, code):
    """Round an amount to the digits that a currency has."""
    digits = load_table().getint("digits", code, fallback=2)
    return round(amount, digits)


def exchange_rate(source, target):
    """Tell how much of the target currency one unit of the source buys."""
    rates = load_table()["rates"]
    return Decimal(rates[target]) / Decimal(rates[source])


def convert(amount, source, target="EUR", charge=0):
    """Change an amount into another currency, less a charge in percent."""
    kept = Decimal(amount) * (100 - charge) / 100
    changed = kept * exchange_rate(source, target)
    return round_money(changed, target)


def total_value(wallet, target="EUR"):
    """Add up amounts by currency in one currency."""
    values = [convert(amount, code, target) for code, amount in wallet.items()]
    return sum(values)


def strongest(codes):
    """Pick the currency with the most valuable unit."""
    return max(codes, key=lambda code: exchange_rate(code, target="EUR"))
