"""Where faults can be put: one source file, the data it reads and the tests that cover it.

A kata is one unit. A package has several; all of them fall on the same side of the split.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rollin.errors import UserError
from rollin.tasks.faults.base import Files

KATAS = Path(__file__).with_name("katas")
FOLDERS = (
    *("src", "lib", "app", "core", "utils", "tools", "common", "backend", "server", "client", "helpers", "shared"),
    *("main", "pkg", "code", "modules", "plugins", "scripts", "service", "engine", "domain", "parts", "base", "jobs"),
    *("src/app", "src/core", "src/lib", "lib/utils", "app/tools", "src/main", "app/core", "lib/common", "web/api"),
)
"""Where the modules of a repository lie."""
MOST_BESIDE = 3


@dataclass(frozen=True)
class Unit:
    """One source file, its data and its tests."""

    source: str
    """`kata` or `package`."""
    module: str
    """The kata or the package: the unit of splitting."""
    pristine: str
    """Where all files come from, in `Task.pristine`'s form."""
    path: str
    """The source file that faults are put into."""
    test_files: tuple[str, ...]
    files: Files
    """The texts of the source file, its data and its tests (not the whole repository)."""
    beside: tuple[str, ...] = ()
    """Other source files that the same tests cover, for faults in several files. Their texts are in `files`."""

    @property
    def name(self) -> str:
        """Names the unit in words. Files of one package in several folders may share a name."""
        stem = Path(self.path).stem
        return self.module if stem in (self.module, "__init__") else f"{self.module}-{stem}"

    @property
    def import_name(self) -> str:
        """What its tests import. A kata in a folder has its tests beside it, and pytest looks there."""
        path = Path(self.path).name if self.source == "kata" else self.path.removeprefix("src/")
        return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def within(self, folder: str) -> "Unit":
        """A kata that lies in a folder of its repository."""
        return replace(
            self,
            pristine=f"kata:{folder}/{self.module}",
            path=f"{folder}/{self.path}",
            test_files=tuple(f"{folder}/{name}" for name in self.test_files),
            files={f"{folder}/{name}": text for name, text in self.files.items()},
        )

    def among(self, others: Iterable["Unit"]) -> "Unit":
        """With the source files that some of its own tests cover, too, for faults in several files."""
        near = [other for other in others if other.module == self.module and other.path != self.path]
        near = [other for other in near if {*other.test_files} & {*self.test_files}]
        texts = {other.path: other.files[other.path] for other in near[:MOST_BESIDE]}
        return replace(self, beside=tuple(texts), files={**self.files, **texts})

    @property
    def code(self) -> dict[str, str]:
        """The files that may be broken: all but the tests."""
        return {path: text for path, text in self.files.items() if path not in self.test_files}


def katas() -> list[Unit]:
    """Every kata, by name."""
    return [_kata(folder) for folder in sorted(KATAS.iterdir()) if (folder / f"{folder.name}.py").is_file()]


def _kata(folder: Path) -> Unit:
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".py", ".json", ".ini"))
    tests = tuple(name for name in names if name.startswith("test_"))
    if not tests:
        raise UserError(f"the kata {folder.name} has no test file; add test_{folder.name}.py to {folder}")
    files = {name: (folder / name).read_text() for name in names}
    return Unit("kata", folder.name, f"kata:{folder.name}", f"{folder.name}.py", tests, files)
