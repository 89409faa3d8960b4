"""What a plan says.

Verdict    fits, does not fit, doubtful, or not checked
Finding    one part of the recipe, its verdict, what was found, and the cure
Figure     one number that was worked out, and what it was made from
Plan       all of it
"""

from dataclasses import asdict, dataclass
from enum import StrEnum

GIB = float(1 << 30)


class Verdict(StrEnum):
    """How a part of a recipe stands."""

    FITS = "fits"
    SHORT = "does not fit"
    DOUBTFUL = "doubtful"
    """It will run, but perhaps not do what is meant."""
    UNCHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """One part of the recipe."""

    part: str
    verdict: Verdict
    found: str
    cure: str = ""


class Unit(StrEnum):
    """What a figure counts."""

    BYTES = "bytes"
    TOKENS = "tokens"
    HOURS = "hours"
    DOLLARS = "USD"
    PARAMETERS = "parameters"


@dataclass(frozen=True)
class Figure:
    """One number that was worked out."""

    group: str
    """What it belongs to: figures of a group are shown together."""
    name: str
    amount: float
    unit: Unit
    origin: str
    """What it was made from, assumptions included."""

    @property
    def shown(self) -> str:
        """For people."""
        if self.unit is Unit.BYTES:
            return f"{self.amount / GIB:.2f} GiB"
        if self.unit is Unit.TOKENS:
            return f"{self.amount / 1e6:,.2f}M tokens"
        if self.unit is Unit.HOURS:
            return f"{self.amount:,.1f} h"
        return f"{self.amount:,.0f} {self.unit}"


@dataclass(frozen=True)
class Plan:
    """What a recipe takes, and whether it can be had."""

    recipe: str
    findings: list[Finding]
    figures: list[Figure]

    @property
    def short(self) -> list[Finding]:
        """What does not fit."""
        return [finding for finding in self.findings if finding.verdict is Verdict.SHORT]

    @property
    def verdict(self) -> str:
        """One line."""
        count = len(self.short)
        line = f"{count} {'thing does' if count == 1 else 'things do'} not fit" if count else "everything fits"
        for verdict in (Verdict.DOUBTFUL, Verdict.UNCHECKED):
            if others := sum(finding.verdict is verdict for finding in self.findings):
                line += f"; {others} {verdict}"
        return line

    def figure(self, group: str, name: str) -> Figure:
        """One of the figures. KeyError where it is none."""
        for figure in self.figures:
            if (figure.group, figure.name) == (group, name):
                return figure
        raise KeyError(f"{group}: {name}")

    def to_json(self) -> dict[str, object]:
        """For machines."""
        return {"verdict": self.verdict} | asdict(self)
