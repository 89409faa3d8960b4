"""A task's repository: its pristine files and its history, as a bare git repository that every sandbox borrows from.

Who wrote the commits and when is fixed, so the same task has the same commit ids everywhere; the repository's
name in the cache is its head's id.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rollin.errors import UserError
from rollin.tasks.git import COMMIT, git
from rollin.tasks.schema import Commit, Task

AUTHOR = "Ada Developer <ada@example.org>"
FIRST_COMMIT = 1_704_099_600
"""2024-01-01T09:00:00Z; each later commit is an hour younger."""
HOUR = 3600
FAST_IMPORT = (
    *("-c", "fastimport.unpackLimit=0", "-c", "pack.compression=0"),
    *("fast-import", "--quiet", "--done", "--depth=0"),
)
"""One pack, neither compressed nor as deltas: it is read at every sandbox's start, and checks out in half the time."""
LEFTOVERS = ("__pycache__", ".pytest_cache", ".git")
"""What running the tests leaves in a folder of pristine files; never part of a repository."""

Content = bytes | Path
"""A file's bytes, or where to read them."""


def materialise(task: Task, cache_dir: Path) -> Path:
    """The task's bare repository, built once. UserError when the files at hand don't give the task's base commit."""
    if not COMMIT.fullmatch(task.base_commit):
        raise UserError(
            f"task {task.instance_id}: its base_commit {task.base_commit!r} is no commit's full id; build the tasks"
            " again with this version of rollin"
        )
    path = _place(cache_dir, task.base_commit)
    if path.exists():
        return path
    path, head = build_repository(pristine_files(task), task.history, cache_dir)
    if head != task.base_commit:
        raise UserError(
            f"task {task.instance_id}: its files give commit {head[:12]}, but its base_commit is"
            f" {task.base_commit[:12]}; build the tasks again with this version of rollin"
        )
    return path


def pristine_files(task: Task) -> dict[str, Content]:
    """Path in the repository -> where its pristine content is. UserError for an origin that can't be read."""
    origin, _, name = task.pristine.partition(":")
    within = ""
    if origin == "kata":
        within, _, kata = name.rpartition("/")
        folder = Path(__file__).parent / "katas" / kata
    elif origin == "pypi":
        from rollin.tasks.packages import origin_of
        from rollin.tasks.sources import unpacked

        folder = unpacked(origin_of(name))
    else:
        raise UserError(
            f"task {task.instance_id}: pristine {task.pristine!r} is neither kata:[<folder>/]<name> nor"
            " pypi:<package>==<version>#sha256=<hash>; a task without it needs an `image`, a container's"
        )
    if not folder.is_dir():
        raise UserError(f"task {task.instance_id}: there is no {task.pristine!r} at {folder}; check its `pristine`")
    return {f"{within}/{path}" if within else path: content for path, content in files_below(folder)}


def build_repository(pristine: Mapping[str, Content], history: Sequence[Commit], cache_dir: Path) -> tuple[Path, str]:
    """Build the repository and put it in the cache; safe beside other processes that build the same. (path, head).

    The first commit of `history` is the root: the pristine files with that commit's own on top.
    """
    with new_repository(cache_dir) as building:
        stream = b"".join(_fast_import(pristine, history or [Commit(subject="Initial import", files={})]))
        git(building, *FAST_IMPORT, stdin=stream)
        head = git(building, "rev-parse", "refs/heads/main").decode().strip()
        keep_as(building, _place(cache_dir, head))
    return _place(cache_dir, head), head


@contextlib.contextmanager
def new_repository(cache_dir: Path) -> Iterator[Path]:
    """An empty bare repository in the cache, which is gone afterwards unless it was kept."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=cache_dir))
    try:
        building.chmod(0o755)  # a sandbox reads it under another uid
        git(building, "init", "--quiet", "--bare", "--initial-branch=main", "--object-format=sha1", "--template=", ".")
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


def keep_as(building: Path, place: Path) -> None:
    """Give a new repository its name, whole."""
    with contextlib.suppress(OSError):  # another process was first: its repository is the same
        building.rename(place)


def repository_shas(path: Path) -> list[str]:
    """The commits of `main`, oldest first."""
    return git(path, "rev-list", "--reverse", "refs/heads/main").decode().split()


def _place(cache_dir: Path, head: str) -> Path:
    return cache_dir / f"{head}.git"


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """(path in the folder, where it is) of each file, less what running tests leaves."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not set(relative.parts) & set(LEFTOVERS) and path.suffix != ".pyc":
            yield relative.as_posix(), path


def _fast_import(pristine: Mapping[str, Content], history: Iterable[Commit]) -> Iterator[bytes]:
    """The repository in `git fast-import`'s language: one process builds it, however many commits there are."""
    pending: dict[str, Content | None] = dict(pristine)
    for number, commit in enumerate(history):
        pending |= {path: None if text is None else text.encode() for path, text in commit.files.items()}
        stamp = f"{AUTHOR} {FIRST_COMMIT + number * HOUR} +0000"
        yield f"commit refs/heads/main\nauthor {stamp}\ncommitter {stamp}\n".encode()
        yield data(f"{commit.subject}\n".encode())
        for path, content in pending.items():
            yield from change(path, content)
        pending = {}
    yield b"done\n"


def change(path: str, content: Content | None) -> Iterator[bytes]:
    """A file of a commit in `git fast-import`'s language; None deletes it."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    if content is None:
        yield f'D "{escaped}"\n'.encode()
        return
    yield f'M 100644 inline "{escaped}"\n'.encode()
    yield data(content.read_bytes() if isinstance(content, Path) else content)


def data(content: bytes) -> bytes:
    """A text in `git fast-import`'s language."""
    return b"data %d\n%b\n" % (len(content), content)
