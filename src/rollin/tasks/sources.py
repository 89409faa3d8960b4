"""Source distributions from PyPI: pinned, fetched by pip when first needed, checked against a hash, kept unpacked.

They lie in the cache and are never changed there; they stay out of rollin's own repository.

Origin     which source distribution a repository's files come from: what `Task.pristine` says after `pypi:`
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from rollin.errors import UserError
from rollin.tasks.cache import cache_folder
from rollin.tasks.git import can_hold

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
VERSION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._!+-]*[A-Za-z0-9])?")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Origin:
    """A pinned source distribution, and which of its files are left out."""

    name: str
    version: str
    sha256: str
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """UserError for what would lead out of the folder of packages, or out of the package's own."""
        if not (NAME.fullmatch(self.name) and VERSION.fullmatch(self.version) and SHA256.fullmatch(self.sha256)):
            raise UserError(
                f"{self.requirement!r} is no pinned package: write <name>==<version>#sha256=<hash of its archive>"
            )
        for path in self.without:
            if not can_hold(path):
                raise UserError(f"{self.requirement} can't leave out {path!r}: write a path inside the package")

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Read `name==version#sha256=<hash>[&without=<path>,<path>]`, its paths quoted as in a URL. UserError for what
        is not of this form."""
        requirement, _, rest = text.partition("#")
        name, _, version = requirement.partition("==")
        fields = dict(field.partition("=")[::2] for field in rest.split("&"))
        without = filter(None, fields.get("without", "").split(","))
        return cls(name, version, fields.get("sha256", ""), tuple(map(unquote, without)))

    def __str__(self) -> str:
        without = f"&without={','.join(map(quote, self.without))}" if self.without else ""
        return f"{self.requirement}#sha256={self.sha256}{without}"

    @property
    def requirement(self) -> str:
        """`name==version`."""
        return f"{self.name}=={self.version}"


def unpacked(origin: Origin) -> Path:
    """The folder of its files. UserError where they can't be had, or are others than they were."""
    place = _place(origin)
    if not place.exists():
        with tempfile.TemporaryDirectory() as work:
            archive = download(f"{origin.requirement} --hash=sha256:{origin.sha256}", Path(work))
            if digest(archive) != origin.sha256:
                raise UserError(
                    f"what pip downloaded as {origin.requirement} has another hash than rollin knows; don't use it"
                )
            keep(archive, origin)
    return place


def keep(archive: Path, origin: Origin) -> Path:
    """Unpack an archive into the cache, less what is left out. UserError where that is no file of it."""
    place = _place(origin)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as work:
        sources = unpack(archive, Path(work))
        for name in origin.without:
            _leave_out(sources, name, origin.requirement)
        with suppress(OSError):  # another process was first: its folder is the same
            sources.rename(place)
    return place


def _leave_out(sources: Path, name: str, requirement: str) -> None:
    path = sources / name
    try:
        if not path.parent.resolve().is_relative_to(sources.resolve()):
            raise UserError(f"{requirement} can't leave out {name!r}: a link leads out of the package there")
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{requirement} can't leave out {name!r} ({error.strerror}): name a file of it") from error


def _place(origin: Origin) -> Path:
    left_out = hashlib.sha256("\0".join(origin.without).encode()).hexdigest()[:8]
    suffix = f"-{left_out}" if origin.without else ""
    return cache_folder() / "packages" / f"{origin.name}-{origin.version}-{origin.sha256[:8]}{suffix}"


def digest(archive: Path) -> str:
    """An archive's SHA-256, as pip writes it."""
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def download(requirement: str, folder: Path) -> Path:
    """One source distribution, by pip; `requirement` is a line of a requirements file. UserError where none comes."""
    listed = folder / "requirements.txt"
    listed.write_text(f"{requirement}\n")
    wanted = requirement.split()[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", wanted.split("==")[0]]
    done = subprocess.run([*command, "--dest", str(folder), "-r", str(listed)], capture_output=True, text=True)
    archives = [*folder.glob("*.tar.gz")]
    if done.returncode != 0 or len(archives) != 1:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no archive came")
        raise UserError(
            f"cannot download {wanted} with pip ({reason.strip()}); check the network and pip's index,"
            " or build tasks from katas, which need neither"
        )
    return archives[0]


def unpack(archive: Path, folder: Path) -> Path:
    """The one folder inside an archive, less its documentation. UserError for an archive that is damaged, holds links
    or paths that lead out of it, or more than the folder."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "sources", filter="data")
        (sources,) = (folder / "sources").iterdir()
    except (tarfile.TarError, ValueError, OSError, EOFError) as error:
        raise UserError(f"{archive.name} can't be unpacked safely ({error}); take another version") from error
    for unused in (sources / "docs", *sources.glob("*.egg-info")):
        shutil.rmtree(unused, ignore_errors=True)
    return sources
