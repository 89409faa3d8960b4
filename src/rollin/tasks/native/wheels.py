"""A repository's own wheel, taken apart: what pip needs to know of it, and what of it git doesn't hold.

Only pure Python is taken: the environment holds the wheel's metadata, the code is the sandbox's own.

Parts    what a wheel is made of
"""

import email
import re
import zipfile
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rollin.errors import Unavailable

COMPILED = (".so", ".pyd", ".dylib")


@dataclass(frozen=True)
class Parts:
    """Of a wheel, and of the repository that it was built from."""

    name: str
    version: str
    extras: tuple[str, ...]
    told: str
    """Its metadata and its entry points: all that an installation without code is made of."""
    root: str
    """The folder of the repository that modules are imported from: "" or `src`, mostly."""
    generated: dict[str, bytes]
    """Path in the repository -> content of the files that the build made."""


def parts(wheel: Path, tracked: Collection[str]) -> Parts:
    """`tracked` are the repository's paths. Unavailable for what is compiled, or lies elsewhere than where it is."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        (info,) = {name.partition("/")[0] for name in names if name.partition("/")[0].endswith(".dist-info")}
        described = archive.read(f"{info}/METADATA").decode(errors="replace")
        points = f"{info}/entry_points.txt"
        entry_points = archive.read(points).decode(errors="replace") if points in names else ""
        of_wheel = email.message_from_string(archive.read(f"{info}/WHEEL").decode())
        code = [name for name in names if not re.match(r"[^/]+\.(dist-info|data)/", name)]
        compiled = [name for name in code if name.endswith(COMPILED)]
        if compiled or of_wheel["Root-Is-Purelib"] != "true":
            raise Unavailable(
                f"it is not of Python alone ({(compiled or [wheel.name])[0]} is compiled): run it in its container"
            )
        root = _root(code, tracked)
        places = {name: f"{root}/{name}" if root else name for name in code}
        generated = {place: archive.read(name) for name, place in places.items() if place not in tracked}
    metadata = email.message_from_string(described)
    extras = tuple(metadata.get_all("Provides-Extra") or ())
    return Parts(metadata["Name"], metadata["Version"], extras, described + entry_points, root, generated)


def _root(code: list[str], tracked: Collection[str]) -> str:
    """Where most of the wheel's files lie in the repository."""
    by_name: dict[str, list[str]] = {}
    for path in tracked:
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    roots: Counter[str] = Counter()
    for name in code:
        for path in by_name.get(name.rpartition("/")[2], []):
            if path == name or path.endswith(f"/{name}"):
                roots[path.removesuffix(name).rstrip("/")] += 1
    found = sorted(roots, key=lambda root: (-roots[root], len(root)))
    root = found[0] if found else ""
    tops = {name.partition("/")[0] for name in code if name.endswith(".py")}
    prefix = f"{root}/" if root else ""
    for top in sorted(tops):
        if not any(path == prefix + top or path.startswith(f"{prefix}{top}/") for path in tracked):
            raise Unavailable(
                f"its {top} is not in the folder {root or '.'} of the repository: run it in its container"
            )
    return root
