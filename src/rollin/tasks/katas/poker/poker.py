"""Rank hands of five playing cards such as "TH" or "2C"."""

from collections import Counter

RANKS = "23456789TJQKA"
GROUPS = {(4, 1): "four", (3, 2): "full house", (3, 1): "three", (2, 2): "two pairs"}
ORDER = ("high card", "pair", "two pairs", "three", "straight")
ORDER += ("flush", "full house", "four", "straight flush")


def values(hand):
    """Return the card values, the most frequent and then highest first."""
    ranks = [RANKS.index(card[0]) + 2 for card in hand]
    counts = Counter(ranks)
    return sorted(ranks, key=lambda rank: (counts[rank], rank), reverse=True)


def _is_straight(ranks, lowest):
    return sorted(ranks) == list(range(lowest, lowest + len(ranks)))


def category(hand):
    """Return the name of the best category of a hand."""
    ranks = values(hand)
    lowest = min(ranks)
    flush = len({card[1] for card in hand}) == 1
    if _is_straight(ranks, lowest):
        return "straight flush" if flush else "straight"
    if flush:
        return "flush"
    sizes = tuple(count for _, count in Counter(ranks).most_common(2))
    return GROUPS.get(sizes, "pair" if 2 in sizes else "high card")


def strength(hand):
    """Return a sort key that is larger for better hands."""
    return ORDER.index(category(hand)), values(hand)


def compare(first, second):
    """Return 1, 0 or -1 as the first hand is better, equal or worse."""
    mine, theirs = strength(first), strength(second)
    return (mine > theirs) - (mine < theirs)


def winner(hands):
    """Return the name of the player with the best hand, or None for a tie."""
    best = max(strength(hand) for hand in hands.values())
    names = [name for name, hand in hands.items() if strength(hand) == best]
    return names[0] if len(names) == 1 else None
