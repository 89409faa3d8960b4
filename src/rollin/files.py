"""Files that a user names, and files and folders that are whole or not there: had, or refused in one sentence."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from rollin.errors import UserError


def read_text(path: Path, what: str) -> str:
    """The text of a file; `what` names it in the UserError, such as "the catalogue x.json"."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {what}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not text in UTF-8; check the path") from error


def write_text(path: Path, text: str, what: str) -> None:
    """A text in UTF-8 as a file, whole or not at all, in a folder that is made. `what` names it in the UserError, such
    as "the report"."""
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UserError(f"cannot write {what} {path} ({error.strerror}); make room, or a place for it") from error


@contextmanager
def whole_folder(place: Path, what: str, cure: str) -> Iterator[Path]:
    """A folder to write into that appears as `place` when all of it is written. UserError where it can't be: "cannot
    write" `what`, why, and the `cure`."""
    partial = place.with_name(f".{place.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(place, ignore_errors=True)
        partial.rename(place)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write {what} {place} ({reason}); {cure}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def locked(path: Path, cure: str) -> Iterator[None]:
    """One process at a time comes past a lock file, the others wait. UserError where it can't be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); {cure}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
