"""Money as whole cents, so that sums stay exact."""

from decimal import ROUND_HALF_UP, Decimal


def parse_amount(text):
    """Read a text such as 1,234.50 into cents."""
    number = Decimal(text.replace(",", ""))
    return _to_cents(number * 100)


def format_amount(cents, symbol="$"):
    """Write cents with a currency symbol and thousands separators."""
    sign = "-" if cents < 0 else ""
    units, rest = divmod(abs(cents), 100)
    return f"{sign}{symbol}{units:,}.{rest:02}"


def percentage(cents, percent):
    """Take a percentage of an amount, with half a cent rounded up."""
    share = Decimal(cents) * Decimal(str(percent))
    return _to_cents(share / 100)


def split_amount(cents, people):
    """Split an amount evenly; the first people get a cent more if need be."""
    share, extra = divmod(cents, people)
    return [share + 1] * extra + [share] * (people - extra)


def allocate(cents, weights):
    """Share out an amount by weight; the last share takes up the rounding."""
    total = sum(weights)
    shares = [_portion(cents, weight, total) for weight in weights[:-1]]
    return shares + [cents - sum(shares)]


def _portion(cents, weight, total):
    return _to_cents(Decimal(cents) * weight / total)


def _to_cents(number):
    return int(number.to_integral_value(rounding=ROUND_HALF_UP))
