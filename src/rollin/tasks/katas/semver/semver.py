"""Semantic versions that can be compared and bumped."""

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, order=True)
class Version:
    """A version such as 1.4.2."""

    major: int
    minor: int = 0
    patch: int = 0

    @staticmethod
    def parse(text):
        """Read a version, which may begin with a v."""
        match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", text)
        if match is None:
            raise ValueError(f"not a version: {text}")
        return Version(*[int(group) for group in match.groups()])

    @property
    def label(self):
        """The version in text form."""
        return f"v{self.major}.{self.minor}.{self.patch}"

    def bump(self, part="patch"):
        """Give the next major, minor or patch version."""
        if part == "major":
            return Version(self.major + 1)
        if part == "minor":
            return replace(self, minor=self.minor + 1, patch=0)
        return replace(self, patch=self.patch + 1)

    def accepts(self, version):
        """Tell whether a version is at least this one and breaks nothing."""
        limit = self.bump("major" if self.major > 0 else "minor")
        return _within(version, self, limit)


def best_match(wanted, versions):
    """Find the newest version that the wanted one accepts, if any."""
    accepted = [version for version in versions if wanted.accepts(version)]
    return max(accepted, default=None)


def _within(version, lower, upper):
    return lower <= version < upper
