"""Morse code: dots and dashes, letters parted by spaces, words by slashes."""

import json
from pathlib import Path
from string import ascii_lowercase

SIGNS = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- "
    "-. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
).split()
CODES = dict(zip(ascii_lowercase, SIGNS, strict=True))


def encode(text):
    """Write words in Morse code, without the characters it lacks."""
    words = [_encode_word(word, CODES) for word in text.lower().split()]
    return " / ".join(word for word in words if word)


def decode(code, unknown="?"):
    """Read Morse code, with a mark for each sign it lacks."""
    letters = {sign: letter for letter, sign in CODES.items()}
    words = [word.split() for word in code.split("/")]
    return " ".join(
        "".join(letters.get(sign, unknown) for sign in word) for word in words
    )


def sign_length(sign):
    """Add up the milliseconds that one letter takes to send."""
    timing = json.loads(Path(__file__).with_name("timing.json").read_text())
    marks = sign.count(".") * timing["dot"] + sign.count("-") * timing["dash"]
    return marks + timing["gap"] * (len(sign) - 1)


def slowest(text):
    """Pick the letter of a text that takes longest to send."""
    letters = sorted(set(text.lower()) & set(ascii_lowercase))
    return max(letters, key=lambda letter: sign_length(CODES[letter]))


def _encode_word(word, codes):
    return " ".join(codes[letter] for letter in word if letter in codes)
