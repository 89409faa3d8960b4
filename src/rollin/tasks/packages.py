"""Real packages to put faults into: pinned source distributions from PyPI, with the modules whose tests are quick.

They are downloaded by pip when first needed, checked against a hash, unpacked into the cache and never changed there.
All are permissively licensed pure Python; they stay out of rollin's own repository.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rollin.errors import UserError
from rollin.tasks.cache import cache_folder
from rollin.tasks.units import Unit


@dataclass(frozen=True)
class Package:
    """One pinned source distribution."""

    name: str
    version: str
    sha256: str
    modules: Mapping[str, tuple[str, ...]]
    """Source file -> the test files that cover it, offline, without further dependencies, in under two seconds."""
    left_out: tuple[str, ...] = ()
    """Files that would keep the tests from running."""

    @property
    def requirement(self) -> str:
        """`name==version`."""
        return f"{self.name}=={self.version}"


def _beside(folder: str, tests: str, *names: str) -> dict[str, tuple[str, ...]]:
    """`folder/name.py` tested by `tests/test_name.py`."""
    return {f"{folder}/{name}.py": (f"{tests}/test_{name}.py",) for name in names}


PACKAGES = (
    Package(
        "boltons",
        "25.0.0",
        "e110fbdc30b7b9868cb604e3f71d4722dd8f4dcb4a5ddd06028ba8f1ab0b5ace",
        _beside(
            *("boltons", "tests"),
            *("strutils", "iterutils", "listutils", "setutils", "dictutils", "mathutils"),
            *("statsutils", "formatutils", "timeutils", "urlutils", "queueutils", "cacheutils"),
        ),
        left_out=("tests/conftest.py",),  # its hook's signature is older than pytest 9
    ),
    Package(
        "inflection",
        "0.5.1",
        "1a29730d366e996aaacffb2f1f1cb9593dc38e2ddd30c91250c6dde09ea9b417",
        {"inflection/__init__.py": ("test_inflection.py",)},
    ),
    Package(
        "jmespath",
        "1.0.1",
        "90261b206d6defd58fdd5e85f478bf633a2901798906be2ad389150c5c60edbe",
        {
            "jmespath/lexer.py": ("tests/test_parser.py",),
            "jmespath/parser.py": ("tests/test_parser.py",),
        },
    ),
    Package(
        "more-itertools",
        "10.5.0",
        "5482bfef7849c25dc3c6dd53a6173ae4795da2a41a80faea6700d9f5846c5da6",
        _beside("more_itertools", "tests", "recipes"),
    ),
    Package(
        "parse",
        "1.20.2",
        "b41d604d16503c79d81af5165155c0b20f6c8d6c559efa66b4b695c3e5a0a0ce",
        {"parse.py": ("tests/test_parse.py", "tests/test_pattern.py", "tests/test_search.py")},
    ),
    Package(
        "schema",
        "0.7.7",
        "7da553abd2958a19dc2547c388cde53398b39196175a9be59ea1caf5ab0a1807",
        {"schema.py": ("test_schema.py",)},
    ),
    Package(
        "toolz",
        "1.0.0",
        "2c86e3d9a04798ac556793bced838816296a2f085017664e4995cb40a1047a02",
        _beside("toolz", "toolz/tests", "itertoolz", "dicttoolz", "functoolz"),
    ),
)


def package_units() -> list[Unit]:
    """Every module of every package, in the order above; downloads what is not there yet."""
    return [
        Unit(
            "package",
            package.name,
            f"pypi:{package.requirement}",
            path,
            tests,
            {name: (unpacked(package.requirement) / name).read_text() for name in (path, *tests)},
        )
        for package in PACKAGES
        for path, tests in package.modules.items()
    ]


def unpacked(requirement: str) -> Path:
    """The folder of a package's unpacked sources. UserError for one not listed here, or that can't be had."""
    package = next((package for package in PACKAGES if package.requirement == requirement), None)
    if package is None:
        known = ", ".join(package.requirement for package in PACKAGES)
        raise UserError(f"{requirement} is not among the packages that rollin puts faults into; those are {known}")
    place = cache_folder() / "packages" / f"{package.name}-{package.version}"
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as work:
        sources = _unpack(_download(package, Path(work)), Path(work))
        for name in package.left_out:
            (sources / name).unlink()
        for folder in (sources / "docs", *sources.glob("*.egg-info")):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another process was first: its folder is the same
            sources.rename(place)
    return place


def _download(package: Package, folder: Path) -> Path:
    """The source distribution, its hash checked."""
    listed = folder / "requirements.txt"
    listed.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package.name]
    done = subprocess.run([*command, "--dest", str(folder), "-r", str(listed)], capture_output=True, text=True)
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or len(archives) != 1:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no archive came")
        raise UserError(
            f"cannot download {package.requirement} with pip ({reason.strip()}); check the network and pip's index,"
            " or build tasks from katas, which need neither"
        )
    if hashlib.sha256(archives[0].read_bytes()).hexdigest() != package.sha256:
        raise UserError(
            f"what pip downloaded as {package.requirement} has another hash than rollin knows; don't use it"
        )
    return archives[0]


def _unpack(archive: Path, folder: Path) -> Path:
    """The one folder inside an archive, unpacked without links or paths that lead out of it."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "sources", filter="data")
    (sources,) = (folder / "sources").iterdir()
    return sources
