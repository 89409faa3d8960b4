"""Guesses at what a policy will say next, from what it has said before.

An agent says the same few things again and again: the same test command, the same `git` lines. So the model need not
be asked token by token. A guess of several tokens goes through the model in one pass, which says at each of them what
it would have drawn there itself; the guess counts as far as it agrees. What is said is exactly what would have been
said without guessing, whether greedy or sampled (speculative decoding with an n-gram draft, arXiv 2304.04487).
"""

from collections.abc import Sequence

ORDERS = (8, 4, 2)
"""How many tokens of context a guess is made from, most telling first."""
ENTRIES = 200_000
"""Contexts remembered, at most; older ones are forgotten all at once."""


class Habits:
    """What was said last after the same few tokens."""

    def __init__(self) -> None:
        self._next: dict[tuple[int, ...], int] = {}

    def clear(self) -> None:
        """Forget what was said."""
        self._next.clear()

    def learn(self, context: Sequence[int], token: int) -> None:
        """`token` was said after `context`."""
        if len(self._next) >= ENTRIES:
            self.clear()
        for order in ORDERS:
            if len(context) >= order:
                self._next[tuple(context[-order:])] = token

    def guess(self, context: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens that may come next."""
        guessed: list[int] = []
        recent = list(context[-ORDERS[0] :])
        while len(guessed) < most:
            known = (self._next.get(tuple(recent[-order:])) for order in ORDERS if len(recent) >= order)
            token = next((token for token in known if token is not None), None)
            if token is None:
                break
            guessed.append(token)
            recent.append(token)
        return guessed
