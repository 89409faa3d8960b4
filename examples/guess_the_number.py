"""A game that is no software: TextArena's Guess The Number, and an expert that halves what is left.

`rollin run recipes/guess-the-number.yaml` trains a model on it. It needs `pip install textarena`.
"""

import random
import re
import threading
from itertools import pairwise

import textarena

SEEDING = threading.Lock()


class GuessTheNumber:
    """From 1 to `highest`, in at most so many guesses; a wrong one is answered by `higher` or `lower`."""

    highest = 20
    guesses = 10

    def __init__(self) -> None:
        self.game = textarena.make("GuessTheNumber-v0-raw", max_number=self.highest, max_turns=self.guesses)

    def reset(self, seed: int) -> str:
        """Begin the game of this number."""
        with SEEDING:  # the game draws from Python's one generator
            random.seed(seed)
            self.game.reset(num_players=1, seed=seed)
        return self.seen()

    def step(self, action: str) -> tuple[str, float, bool]:
        """(what the game says, 1 for a right guess, whether it is over)."""
        over, _ = self.game.step(action)
        if over:
            rewards, _ = self.game.close()
            return "", float(rewards[0]), True
        return self.seen(), 0.0, False

    def seen(self) -> str:
        """What the game said since the last time."""
        _, news = self.game.get_observation()
        return "\n".join(text for speaker, text, *_ in news if speaker == -1)


class UpTo500(GuessTheNumber):
    """Halving needs nine guesses at most, if it is done right: two may be spoilt."""

    highest = 500
    guesses = 11


def halve(messages: list[dict[str, str]], task: object) -> str:
    """The expert: the middle of what the conversation leaves open. It does not know the number."""
    low, high = map(int, re.findall(r"between (\d+) and (\d+)", messages[0]["content"])[0])
    for said, heard in pairwise(messages):
        guess = re.search(r"\[(\d+)\]", said["content"]) if said["role"] == "assistant" else None
        if guess and "is higher" in heard["content"]:
            low = max(low, int(guess[1]) + 1)
        elif guess and "is lower" in heard["content"]:
            high = min(high, int(guess[1]) - 1)
    return f"From {low} to {high}: [{(low + high) // 2}]"
