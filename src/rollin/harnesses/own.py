"""A harness of one's own, named in a recipe."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rollin.harnesses.base import Harness
from rollin.plugins import make

MEMBERS = ("env", "sandboxed", "inside", "folders", "run")


class OwnSettings(BaseModel):
    """A scaffold of one's own, as a class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["own"]
    make: str
    """The class or function that makes a `Harness` (harnesses/base.py): `package.module:name`, or
    `path/to/file.py:name`."""
    settings: dict[str, Any] = {}
    """What it is called with, by name."""


def own_harness(settings: OwnSettings) -> Harness:
    """UserError where it can't be made, or is none."""
    made: Harness = make(settings.make, settings.settings, MEMBERS)
    return made
