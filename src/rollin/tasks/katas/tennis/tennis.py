"""Keep the score of a tennis game."""

from collections import Counter

NAMES = ("love", "fifteen", "thirty", "forty")


def _call(counts, separator):
    return separator.join(NAMES[count] for count in counts)


class Game:
    """One game between a server and a receiver."""

    def __init__(self, server, receiver):
        self.server = server
        self.receiver = receiver
        self.points = Counter()

    def award(self, player, count=1):
        """Give points to a player; a finished game takes no more."""
        for _ in range(count):
            if self.winner():
                raise ValueError("the game is over")
            self.points[player] += 1

    def leader(self):
        """Return the player who is ahead, or None."""
        margin = self.points[self.server] - self.points[self.receiver]
        if margin == 0:
            return None
        return self.server if margin > 0 else self.receiver

    def winner(self):
        """Return the player who has four points and leads by two, or None."""
        margin = self.points[self.server] - self.points[self.receiver]
        leader = self.leader()
        return leader if self.points[leader] >= 4 and abs(margin) >= 2 else None

    def score(self, separator="-"):
        """Return the score as the umpire calls it, the server's first."""
        if self.winner():
            return f"game {self.winner()}"
        counts = [self.points[self.server], self.points[self.receiver]]
        if min(counts) < 3:
            return _call(counts, separator)
        return f"advantage {self.leader()}" if self.leader() else "deuce"
