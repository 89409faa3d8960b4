"""What a repository declares that its tests want: extras of its metadata, files of requirements.

Wants    the extras that are asked for of the repository's own wheel, and further lines for pip
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollin.errors import Unavailable

EXTRAS = (("test", "tests", "testing"), ("dev", "develop", "development"))
"""Of the first group that has one. What developers want holds linters, too, and the pins that they come with."""
FILES = (
    re.compile(r"(requirements/)?(requirements?[-_.])?(tests?|testing)([-_.]requirements?)?\.(txt|pip)"),
    re.compile(r"(requirements/)?(requirements?[-_.])?(dev|develop|development)([-_.]requirements?)?\.(txt|pip)"),
)
_NESTED = re.compile(r"(?:-r|--requirement)[ =]*(\S+)|(?:-c|--constraint)[ =]*(\S+)")
_ITSELF = re.compile(r"(?:-e|--editable)?[ =]*\.(?:/)?(?:\[([\w, .-]+)\])?\s*(?:#.*)?")


@dataclass(frozen=True)
class Wants:
    """What is installed besides the repository's dependencies."""

    extras: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()

    def __add__(self, other: "Wants") -> "Wants":
        return Wants(self.extras + other.extras, self.lines + other.lines, self.constraints + other.constraints)


def wants(checkout: Path, extras: Sequence[str], declared: Sequence[str] | None) -> Wants:
    """What the names in `declared` stand for, or else what is for tests. Unavailable for what is not there.

    `extras` are those that the repository has.
    """
    found = Wants()
    for name in _for_tests(checkout, extras) if declared is None else declared:
        extra = re.fullmatch(r"\[(.+)\]", name)
        if extra and extra[1] not in extras:
            raise Unavailable(f"the repository has no extra {name}; it has {', '.join(extras) or 'none'}")
        found += Wants(extras=(extra[1],)) if extra else _of_file(checkout.resolve(), name, frozenset())
    return Wants(tuple(sorted({*found.extras} & {*extras})), found.lines, found.constraints)


def _for_tests(checkout: Path, extras: Iterable[str]) -> list[str]:
    """Extras for tests, else files for tests, else the same for developers."""
    paths = (*checkout.glob("*"), *checkout.glob("requirements/*"))
    files = sorted(path.relative_to(checkout).as_posix() for path in paths)
    for group, form in zip(EXTRAS, FILES, strict=True):
        found = [f"[{extra}]" for extra in extras if extra.lower() in group]
        found = found or [name for name in files if form.fullmatch(name)]
        if found:
            return found
    return []


def _of_file(checkout: Path, name: str, outer: frozenset[Path]) -> Wants:
    """A file's lines and those of the files that it names. The repository itself is no requirement: its extras are."""
    path = (checkout / name).resolve()
    if path in outer or not path.is_relative_to(checkout) or not path.is_file():
        raise Unavailable(f"the repository has no file of requirements {name}")
    found = Wants()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if itself := _ITSELF.fullmatch(line.strip()):
            found += Wants(extras=tuple(re.split(r"[, ]+", itself[1]) if itself[1] else ()))
        elif nested := _NESTED.match(line.strip()):
            inner = _of_file(
                checkout, os.path.relpath(path.parent / (nested[1] or nested[2]), checkout), outer | {path}
            )
            found += inner if nested[1] else Wants(constraints=inner.lines + inner.constraints)
        else:
            found += Wants(lines=(line,))
    return found
