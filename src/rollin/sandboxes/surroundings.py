"""What the commands of a bubblewrap sandbox find besides their workspace: a Python environment, and variables.

A task that rollin made gets rollin's own environment. A published one gets the environment that was made for it, and
no package besides: one that rollin needs may be the very package under repair, repaired.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rollin.sandboxes.init import WORKSPACE
from rollin.sandboxes.testbed import TESTBED

VARIABLES = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "USER": "agent",
    "PAGER": "cat",
    "EDITOR": "true",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    # A package that keeps its modules there can be imported, as if it were installed in development mode.
    "PYTHONPATH": f"{WORKSPACE}/src",
    # Loading every installed plugin costs pytest 1.5 s at each start.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_ADDOPTS": "-p no:cacheprovider",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Agent",
    "GIT_AUTHOR_EMAIL": "agent@example.org",
    "GIT_COMMITTER_NAME": "Agent",
    "GIT_COMMITTER_EMAIL": "agent@example.org",
    # Fixed dates: the same commands make the same commit ids in every run.
    "GIT_AUTHOR_DATE": "2025-01-01T09:00:00Z",
    "GIT_COMMITTER_DATE": "2025-01-01T09:00:00Z",
}
"""What commands see of a task that rollin made."""
OF_SYSTEM = ("HOME", "USER", "GIT_CONFIG_NOSYSTEM")
"""Variables that an image says itself."""
OF_TESTS = ("PYTHONHASHSEED", "PYTHONPATH", "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTEST_ADDOPTS")
"""Variables that change how tests run: published ones need their plugins and their configuration."""
PUBLISHED = {name: value for name, value in VARIABLES.items() if name not in (*OF_SYSTEM, *OF_TESTS)}
"""What commands see of a published task, besides its system's own variables."""


@dataclass(frozen=True)
class Surroundings:
    """What there is besides the workspace."""

    folders: tuple[Path, ...]
    """Trees of the host that Python needs; shown read-only where they are."""
    hidden: tuple[Path, ...]
    """What of them, and of /usr, is not to be seen."""
    programs: Path
    """The folder that is searched first for a command."""
    variables: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict)
    """Symbolic links: path -> where it leads."""


def of_rollin(hidden: Sequence[Path] = ()) -> Surroundings:
    """rollin's own environment, without `hidden` and without rollin itself, which holds the katas' solutions."""
    folders = _outermost({Path(sys.prefix), *_interpreter()})
    return Surroundings(folders, (_rollin(), *hidden), Path(sys.prefix) / "bin", VARIABLES)


def of_environment(folder: Path) -> Surroundings:
    """A virtual environment alone. The workspace is /testbed, too: published evaluation scripts go there."""
    base = environment_base(folder)
    variables = {**VARIABLES, **PUBLISHED}
    for name in OF_TESTS:
        del variables[name]
    folders = _outermost({folder, base, *_interpreter()})
    others = {path for root in {base, *_interpreter()} for path in installed_for(root)}
    hidden = (_rollin(), *sorted(path for path in others if not path.is_relative_to(folder)))
    return Surroundings(folders, hidden, folder / "bin", variables, {TESTBED: WORKSPACE})


def environment_base(folder: Path) -> Path:
    """The installation of Python that a virtual environment is of."""
    lines = (folder / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    return Path(fields["home"]).resolve().parent


def installed_for(base: Path) -> list[Path]:
    """Where packages lie that were installed for a Python, or for the system's."""
    places = [*base.glob("lib/python3*/site-packages"), *base.glob("lib/python3*/dist-packages")]
    return [
        *places,
        *Path("/usr/lib").glob("python3*/dist-packages"),
        *Path("/usr/local/lib").glob("python3*/*-packages"),
    ]


def shown_packages() -> list[Path]:
    """The folders of packages that a sandbox with rollin's own environment shows."""
    bases = {Path(sys.prefix), *_interpreter()}
    return sorted({place for base in bases for place in installed_for(base) if place.is_dir()})


def shown_archives() -> list[Path]:
    """The folders of archives in it, out of which Python, virtualenv and Debian install pip, with what pip brings."""
    bundled = (found for base in _interpreter() for found in base.glob("lib/python3*/ensurepip/_bundled"))
    embedded = (place / "virtualenv" / "seed" / "wheels" / "embed" for place in shown_packages())
    return sorted({*bundled, *embedded, Path("/usr/share/python-wheels")})


def _rollin() -> Path:
    return Path(__file__).parents[1]


@cache
def _interpreter() -> tuple[Path, ...]:
    """The installation that runs a sandbox's PID 1."""
    return (Path(sys.base_prefix), Path(sys.executable).resolve().parents[1])


def _outermost(folders: set[Path]) -> tuple[Path, ...]:
    """In an order in which one may be mounted over the other, less what /usr holds."""
    return tuple(path for path in sorted(folders) if not path.is_relative_to("/usr") and path != Path("/"))
