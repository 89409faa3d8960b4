"""Find and group words that are made of the same letters."""

import itertools
from collections import Counter, defaultdict


def signature(word):
    """Return the letters of a word in order, without case or punctuation."""
    letters = [letter for letter in word.lower() if letter.isalpha()]
    return "".join(sorted(letters))


def _matches(first, second):
    same = signature(first) == signature(second)
    return same and first.lower() != second.lower()


def groups(words, minimum=2):
    """Return the anagram groups with at least so many words, largest first."""
    found = defaultdict(list)
    for word in words:
        found[signature(word)].append(word)
    large = [group for group in found.values() if len(group) >= minimum]
    return sorted(large, key=len, reverse=True)


def pairs(words):
    """Return all pairs of words that are anagrams of each other."""
    couples = itertools.combinations(words, 2)
    return [(first, second) for first, second in couples if _matches(first, second)]


def missing(word, tiles):
    """Return the letters one would have to add to the tiles to lay the word."""
    lacking = Counter(signature(word)) - Counter(signature(tiles))
    return "".join(sorted(lacking.elements()))


def longest(words, tiles):
    """Return the longest word that the tiles can lay, the first of several."""
    possible = [word for word in words if not missing(word, tiles)]
    return max(possible, key=len, default=None)
