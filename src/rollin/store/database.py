"""Opening `run.db`: the connection, the one writer's lock, and what can be wrong with the file."""

import errno
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from rollin import __version__
from rollin.errors import InfrastructureFault, UserError
from rollin.tasks.schema import Task

SCHEMA_VERSION = 4


class WriterLock:
    """Held by the one process that writes to a run. The kernel lets go of it however that process ends."""

    def __init__(self, path: Path) -> None:
        """Raises UserError if another process holds it, or it cannot be written."""
        # A file of its own: closing any descriptor of run.db itself would drop SQLite's locks.
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(f"cannot write {path} ({_reason(error)}); {_cure(error, _ELSEWHERE)}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(self._file, 32).decode(errors="replace").strip()
            os.close(self._file)
            raise UserError(
                f"{path.parent} is being written by process {owner or 'unknown'}; wait for it, or end it"
            ) from error
        try:
            os.truncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._file)
            raise UserError(f"cannot write {path} ({_reason(error)}); {_cure(error, _ELSEWHERE)}") from error

    def release(self) -> None:
        os.close(self._file)


def create(path: Path, recipe: Mapping[str, object], tasks: Iterable[Task]) -> None:
    """Make a new `run.db` in which nothing has happened. UserError if it exists or cannot be written; never leaves half
    of one."""
    draft = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise UserError(f"{path} already holds a run; resume it, or choose another directory")
        draft.unlink(missing_ok=True)
        db = sqlite3.connect(draft)
        # One transaction: by itself each statement would wait for the disk.
        db.executescript("BEGIN;" + _sql("schema.sql") + _sql("views.sql"))
        meta = {
            "rollin_version": __version__,
            "schema_version": str(SCHEMA_VERSION),
            "created": str(time.time()),
            "recipe": json.dumps(recipe),
        }
        db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        insert_tasks(db, tasks)
        db.commit()
        db.close()
        draft.rename(path)
    except (OSError, sqlite3.OperationalError) as error:
        cure = _cure(error, "choose a directory that can be written")
        raise UserError(f"cannot create {path} ({_reason(error)}); {cure}") from error


def insert_tasks(db: sqlite3.Connection, tasks: Iterable[Task]) -> None:
    """Those already known are kept as they are, unless all that was known was a name."""
    rows = ((t.instance_id, t.repo, t.family, t.split, t.model_dump_json()) for t in tasks)
    db.executemany(
        "INSERT INTO tasks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET repo = excluded.repo,"
        " family = excluded.family, split = excluded.split, task = excluded.task"
        " WHERE json_extract(tasks.task, '$.problem_statement') = ''",
        rows,
    )


def connect_writer(path: Path) -> sqlite3.Connection:
    """A connection that commits survive: see below for what they survive. UserError if the file is no run of ours."""
    must_exist(path)
    with _opening(path):
        if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            raise UserError(f"cannot write to {path}; {_ELSEWHERE}")
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        db.execute("PRAGMA journal_mode = WAL")
        # NORMAL: a commit is handed to the kernel before it returns, so whatever was committed survives `kill -9` of
        # this process. A power cut or a kernel crash may lose the last seconds' commits, never tear the file: such a
        # run resumes a few turns earlier. FULL would keep those too, at one fsync a commit: 4 ms against 0.03 ms
        # measured on a virtual disk, and the turns of all trajectories queue for it.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        _check(db, path)
        db.executescript("BEGIN;" + _sql("views.sql") + "COMMIT;")
        return db


def connect_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection, for reports while a run goes on."""
    must_exist(path)
    with _opening(path):
        uri = f"file:{quote(str(path.resolve()))}?mode=ro" + ("&immutable=1" if _unchanging(path) else "")
        db = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, timeout=30)
        _check(db, path)
        return db


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors in rollin's two kinds: a damaged file is the user's to mend, a full disk is a fault."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InfrastructureFault(f"writing or reading {path} failed: {error}") from error
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error


def _unchanging(path: Path) -> bool:
    """Whether nobody writes the run, and a reader could not make the files that SQLite wants beside it."""
    log = path.with_name(path.name + "-wal")
    whole = not log.exists() or not log.stat().st_size
    return whole and not os.access(path.parent, os.W_OK)


def _check(db: sqlite3.Connection, path: Path) -> None:
    row = db.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    version = row[0] if row else "none"
    if version != str(SCHEMA_VERSION):
        raise UserError(
            f"{path} has schema {version}, this rollin reads {SCHEMA_VERSION}; use the rollin version that made it"
        )
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _damaged(path, verdict)


def _sql(name: str) -> str:
    return files("rollin.store").joinpath(name).read_text()


def must_exist(path: Path) -> None:
    """UserError where there is no file to open."""
    if not path.is_file():
        raise UserError(f"there is no run at {path}; check the path, or start one")


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise UserError(f"{path} is not a rollin run; check the path") from error
        raise UserError(f"cannot open {path} ({error}); {_cure(error, 'check its permissions')}") from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, cause: object) -> UserError:
    return UserError(f"{path} is damaged ({cause}); restore it from a copy, or start the run again")


_ELSEWHERE = "check its permissions, or copy the run elsewhere"


def _cure(error: Exception, otherwise: str) -> str:
    """What to do: make room where the disk is full, or may be."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte names the kind
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or code == sqlite3.SQLITE_FULL:
        return "make room on its disk"
    return "look whether its disk is full, or broken" if code == sqlite3.SQLITE_IOERR else otherwise


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
