"""The user's clones of published repositories, and one commit of them as a sandbox's template."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from rollin.errors import InfrastructureFault, Unavailable
from rollin.tasks.git import COMMIT, git
from rollin.tasks.repository import AUTHOR, FIRST_COMMIT, change, data, keep_as, new_repository

VARIABLE = "ROLLIN_REPOSITORIES"
"""Names the folder (or several, as in PATH) that holds the clones."""
UPLOAD = "git -c safe.directory=* -c uploadpack.allowAnySHA1InWant=true upload-pack"
"""A commit that is no branch's head is given away, too, and the clone may be another user's."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_clone(repo: str) -> Path:
    """The git directory of the clone of `owner/name`. Unavailable where there is none."""
    folders = [Path(each).expanduser() for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each]
    names = [repo, repo.replace("/", "__")] if _NAME.fullmatch(repo) else []
    for place in (folder / f"{name}{end}" for folder in folders for name in names for end in ("", ".git")):
        for directory in (place / ".git", place):
            if (directory / "HEAD").is_file() and (directory / "objects").is_dir():
                return directory.resolve()
    if not names:
        raise Unavailable(f"{repo!r} names no repository of an owner, so there can be no clone of it")
    where = f"in {os.pathsep.join(map(str, folders))}" if folders else f"since {VARIABLE} names no folder"
    raise Unavailable(
        f"there is no clone of {repo} {where}: `git clone https://github.com/{repo} {names[1]}` in the folder that"
        f" {VARIABLE} names"
    )


def check_commit(clone: Path, commit: str) -> None:
    """Unavailable where the clone doesn't hold it."""
    if not COMMIT.fullmatch(commit):
        raise Unavailable(
            f"its base_commit {commit!r} is no commit's full id, and without it nothing can be checked out"
        )
    try:
        git(clone, "-c", "safe.directory=*", "cat-file", "-e", f"{commit}^{{commit}}")
    except InfrastructureFault as fault:
        raise Unavailable(f"the clone {clone} holds no commit {commit[:12]}: `git fetch` it there") from fault


def committed_on(clone: Path, commit: str) -> str:
    """The day of a commit, as `2021-05-13`."""
    return git(clone, "-c", "safe.directory=*", "show", "-s", "--format=%cs", commit).decode().strip()


@contextlib.contextmanager
def checked_out(clone: Path, commit: str) -> Iterator[Path]:
    """A working tree of its own at a commit, with the tags that a version may be told by."""
    with tempfile.TemporaryDirectory(prefix="rollin-") as work:
        tree = Path(work) / "repo"
        directory = tree / ".git"
        directory.mkdir(parents=True)
        git(directory, "init", "--quiet", "--template=", str(tree))
        (directory / "objects" / "info").mkdir(exist_ok=True)
        (directory / "objects" / "info" / "alternates").write_text(f"{clone / 'objects'}\n")
        _fetch(directory, clone, f"{commit}:refs/heads/main", "refs/tags/*:refs/tags/*")
        git(directory, f"--work-tree={tree}", "checkout", "--quiet", "--force", "main")
        yield tree


def template(clone: Path, commit: str, generated: Mapping[str, bytes], place: Path) -> Path:
    """A bare repository at `place`, whose `main` is the commit, with its ancestors and nothing that came later.

    What a build generates and imports want (a `_version.py`) is a commit on top, so it is no part of a patch.
    """
    if place.exists():
        return place
    with new_repository(place.parent) as building:
        _fetch(building, clone, f"{commit}:refs/heads/main")
        if generated:
            git(building, "fast-import", "--quiet", "--done", stdin=b"".join(_on_top(commit, generated)))
        head = git(building, "rev-parse", "refs/heads/main")
        (building / "refs" / "heads" / "main").write_bytes(head)  # loose: a sandbox's shell reads it
        keep_as(building, place)
    return place


def _fetch(directory: Path, clone: Path, *what: str) -> None:
    git(directory, "fetch", "--quiet", "--no-tags", f"--upload-pack={UPLOAD}", str(clone), *what)


def _on_top(commit: str, generated: Mapping[str, bytes]) -> Iterator[bytes]:
    yield f"commit refs/heads/main\ncommitter {AUTHOR} {FIRST_COMMIT} +0000\n".encode()
    yield data(b"What the build generates\n") + f"from {commit}\n".encode()
    for path, content in generated.items():
        yield from change(path, content)
    yield b"done\n"
