"""Spell whole numbers from 1 to 999 in English words, and read them back."""

import re

SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen""".split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth"}
IRREGULAR |= {"eight": "eighth", "nine": "ninth", "twelve": "twelfth"}


def _join(large, small, glue):
    return f"{large}{glue}{spell(small)}" if small else large


def spell(number, glue=" and "):
    """Return the words for a number, such as "two hundred and six"."""
    if not 1 <= number <= 999:
        raise ValueError(f"cannot spell {number}")
    if number < 20:
        return SMALL[number]
    if number < 100:
        return _join(TENS[number // 10], number % 10, glue="-")
    hundreds, small = divmod(number, 100)
    large = f"{SMALL[hundreds]} hundred"
    return _join(large, small, glue)


def ordinal(number):
    """Return the ordinal words, such as "twenty-first"."""
    start, last = re.fullmatch(r"(.*?)(\w+)", spell(number)).groups()
    regular = re.sub(r"y$", "ie", last) + "th"
    return start + IRREGULAR.get(last, regular)


def read(words):
    """Return the number that the words spell."""
    total = 0
    for word in re.findall(r"\w+", words.replace(" and ", " ")):
        if word == "hundred":
            total *= 100
        else:
            total += SMALL.index(word) if word in SMALL else 10 * TENS.index(word)
    return total


def letters(number):
    """Return how many letters it takes to spell a number."""
    return len(re.sub(r"\W", "", spell(number)))
