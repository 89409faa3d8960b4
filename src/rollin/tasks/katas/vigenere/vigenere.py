"""Caesar and Vigenere ciphers on the letters A to Z."""

from collections import Counter
from itertools import cycle
from string import ascii_uppercase


def caesar(text, shift=3):
    """Move every letter of a text along the alphabet."""
    return "".join(_rotate(letter, shift) for letter in text.upper())


def encrypt(text, keyword):
    """Encrypt the letters of a text; all else is left out."""
    letters = _only_letters(text)
    shifts = cycle([ascii_uppercase.index(letter) for letter in keyword.upper()])
    return "".join(map(_rotate, letters, shifts))


def decrypt(secret, keyword):
    """Bring back the letters that were encrypted with a keyword."""
    inverse = [-ascii_uppercase.index(letter) for letter in keyword.upper()]
    return "".join(map(_rotate, secret, cycle(inverse)))


def guess_shift(secret, common="E"):
    """Guess the shift of a Caesar cipher from its most frequent letter."""
    counts = Counter(_only_letters(secret))
    letter = max(ascii_uppercase, key=lambda each: counts[each])
    return (ord(letter) - ord(common)) % 26


def _only_letters(text):
    return [letter for letter in text.upper() if letter in ascii_uppercase]


def _rotate(letter, shift):
    if letter not in ascii_uppercase:
        return letter
    position = ascii_uppercase.index(letter) + shift
    return ascii_uppercase[position % 26]
