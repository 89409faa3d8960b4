"""Run-length encoding of text."""

import re
from itertools import groupby


def find_runs(text):
    """List each run of equal letters as a letter and its length."""
    return [(letter, len(list(group))) for letter, group in groupby(text)]


def encode(text, minimum=2):
    """Shorten runs to a count and a letter, from a minimum length on."""
    runs = find_runs(text)
    return "".join(_pack(letter, length, minimum) for letter, length in runs)


def decode(packed):
    """Expand each count and letter into a run."""
    pieces = re.findall(r"(\d*)(\D)", packed)
    return "".join(letter * int(count or 1) for count, letter in pieces)


def longest_run(text):
    """Find the letter of the first longest run and its length."""
    longest = ("", 0)
    for letter, length in find_runs(text):
        if length > longest[1]:
            longest = (letter, length)
    return longest


def saving(text, minimum=2):
    """Tell what percentage of a text encoding it saves."""
    if not text:
        return 0
    packed = encode(text, minimum=minimum)
    return round(100 - 100 * len(packed) / len(text))


def squeeze(text, letter):
    """Shorten every run of one letter to a single one."""
    return re.sub(re.escape(letter) + "+", lambda _: letter, text)


def _pack(letter, length, minimum):
    return f"{length}{letter}" if length >= minimum else letter * length
