"""Real packages to put faults into: a catalogue of pinned source distributions, with the modules whose tests are quick.

rollin's own catalogue is `packages.json`: permissively licensed, pure Python. `rollin tasks scout` makes others.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Self

from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rollin.errors import UserError
from rollin.files import read_text
from rollin.tasks.git import can_hold
from rollin.tasks.sources import Origin, unpacked
from rollin.tasks.units import Unit

OWN = Path(__file__).with_name("packages.json")


class Package(BaseModel):
    """One pinned source distribution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    modules: dict[str, tuple[str, ...]] = Field(min_length=1)
    """Source file -> the test files that cover it, offline, without further dependencies, in under two seconds."""
    left_out: tuple[str, ...] = ()
    """Files that would keep the tests from running."""

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for path in (*self.modules, *(test for tests in self.modules.values() for test in tests)):
            if not can_hold(path):
                raise ValueError(f"{path!r} is no path inside a package")
        try:
            self.origin  # noqa: B018 - made to be checked
        except UserError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def origin(self) -> Origin:
        """Where its files come from."""
        return Origin(self.name, self.version, self.sha256, self.left_out)


@cache
def read_catalogue(path: Path = OWN) -> tuple[Package, ...]:
    """The packages of a catalogue. UserError for a file that is none."""
    text = read_text(path, f"the catalogue {path}")
    try:
        packages = tuple(Package.model_validate(entry) for entry in json.loads(text))
    except (ValueError, TypeError) as error:
        detail = error.errors()[0]["msg"].lower() if isinstance(error, ValidationError) else "not a list in JSON"
        raise UserError(f"{path} is no catalogue of packages ({detail}); make one with `rollin tasks scout`") from error
    names: list[str] = [canonicalize_name(package.name) for package in packages]
    for same in (names, [package.sha256 for package in packages]):
        if repeated := [package.name for package, key in zip(packages, same, strict=True) if same.count(key) > 1]:
            raise UserError(
                f"the catalogue {path} lists {repeated[0]} twice (as {repeated[-1]}); the split needs each package once"
            )
    return packages


def write_catalogue(path: Path, packages: Sequence[Package]) -> None:
    """A line for each package, so that changes can be read."""
    lines = (json.dumps(package.model_dump(mode="json", exclude_defaults=True)) for package in packages)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    read_catalogue.cache_clear()


def origin_of(text: str) -> Origin:
    """The origin that `Task.pristine` names after `pypi:`. Short, `name==version`, it is of rollin's own catalogue."""
    if "#" in text:
        return Origin.parse(text)
    listed = {package.origin.requirement: package.origin for package in read_catalogue()}
    if text not in listed:
        raise UserError(
            f"{text} is not in rollin's own catalogue, which would tell its hash; write {text}#sha256=<archive's hash>"
        )
    return listed[text]


def package_units(catalogue: Path = OWN) -> list[Unit]:
    """Every module of every package, in the catalogue's order; downloads what is not there yet."""
    return [unit for package in read_catalogue(catalogue) for unit in _units(package)]


def _units(package: Package) -> list[Unit]:
    folder, pristine = unpacked(package.origin), f"pypi:{package.origin}"
    return [
        Unit(
            "package",
            package.name,
            pristine,
            path,
            tests,
            {name: (folder / name).read_text(encoding="utf-8") for name in (path, *tests)},
        )
        for path, tests in package.modules.items()
    ]
