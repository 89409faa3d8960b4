"""Check passwords against the rules in rules.json."""

import json
import string
from itertools import groupby
from pathlib import Path


def load_rules(filename="rules.json"):
    """Return the rules from a file beside this module."""
    return json.loads(Path(__file__).with_name(filename).read_text())


def _count(text, allowed):
    return sum(character in allowed for character in text)


def _is_banned(text, words):
    return any(word in text.lower() for word in words)


def problems(text, rules):
    """Return the names of the rules that a password breaks."""
    words = rules["banned"]
    checks = {
        "length": len(text) < rules["length"],
        "digits": _count(text, string.digits) < rules["digits"],
        "capitals": _count(text, string.ascii_uppercase) < rules["capitals"],
        "repeats": longest_run(text) > rules["repeats"],
        "banned": _is_banned(text, words),
    }
    return [name for name, broken in checks.items() if broken]


def longest_run(text):
    """Return how often a character is repeated in a row at most."""
    runs = [len(list(group)) for _, group in groupby(text)]
    return max(runs, default=0)


def illegal(text, rules):
    """Return the characters that may not appear, sorted and joined."""
    allowed = string.ascii_letters + string.digits + rules["symbols"]
    return "".join(sorted(set(text) - set(allowed)))


def mask(text, visible=2):
    """Return the text with all but the first characters hidden."""
    hidden = len(text) - visible
    return text[:visible] + "*" * hidden
