"""Files that a user names: read, or refused in one sentence."""

from pathlib import Path

from rollin.errors import UserError


def read_text(path: Path, what: str) -> str:
    """The text of a file; `what` names it in the UserError, such as "the catalogue x.json"."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {what}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not text in UTF-8; check the path") from error
