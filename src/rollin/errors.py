"""The two kinds of things that go wrong: what the user can mend, and what the infrastructure did."""


class UserError(Exception):
    """Bad input. One sentence: what was wrong, where, and what to do. The CLI prints it and exits with code 2."""


class InfrastructureFault(Exception):  # noqa: N818 - the word of the store and of every rate
    """A sandbox, an endpoint or a disk failed. Never counted as the model's failure, in any rate."""

    def __init__(self, message: str, *, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause
        """Seconds that a server asks to wait."""


class Unavailable(InfrastructureFault):
    """What a task needs can't be had: an image, a repository, its packages. Trying again at once would not help."""


class ImageUnavailable(Unavailable):
    """A container image can't be had."""


class Refused(InfrastructureFault):
    """A model's server does not take what it is asked. Another try would not help; to ask otherwise may."""


class ContextOverflow(Exception):  # noqa: N818 - a state of the conversation, not an error of the program
    """The state no longer fits the policy's context. It ends the trajectory, and counts as the model's doing."""
