"""Roman numerals from 1 to 3999."""

import re

SYMBOLS = {
    "M": 1000, "CM": 900, "D": 500, "CD": 400, "C": 100, "XC": 90, "L": 50,
    "XL": 40, "X": 10, "IX": 9, "V": 5, "IV": 4, "I": 1,
}


def to_roman(number, highest=3999):
    """Write a positive whole number as a Roman numeral."""
    _check_range(number, highest)
    numeral = ""
    for symbol, value in SYMBOLS.items():
        count, number = divmod(number, value)
        numeral += symbol * count
    return numeral


def from_roman(numeral):
    """Read a well-formed Roman numeral."""
    tokens = re.findall("CM|CD|XC|XL|IX|IV|[MDCLXVI]", numeral)
    total = sum(SYMBOLS[token] for token in tokens)
    if to_roman(total) != numeral:
        raise ValueError(f"not a numeral: {numeral}")
    return total


def add_roman(first, second):
    """Add two Roman numerals."""
    return to_roman(from_roman(first) + from_roman(second))


def replace_digits(sentence):
    """Write every number of one to three digits in a sentence as a numeral."""
    return re.sub(r"\b[1-9]\d{0,2}\b", lambda found: to_roman(int(found[0])), sentence)


def _check_range(number, highest):
    if number < 1 or number > highest:
        raise ValueError(f"{number} is not between 1 and {highest}")
