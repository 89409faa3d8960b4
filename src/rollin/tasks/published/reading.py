"""Rows of the hub, of a Parquet or of a JSONL file, as tasks; rows that are none are named, never lost in silence.

Source     where rows are
Skipped    a row that is no task: which, and why
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from rollin.errors import InfrastructureFault, UserError
from rollin.tasks.published.catalogue import Format, known_or_refused
from rollin.tasks.published.columns import Misfit, Row
from rollin.tasks.published.formats import as_task, recognised
from rollin.tasks.schema import Task, json_lines, parse_task

LOOKED_AT = 100
"""A file's format is that of most of its first so many rows."""
BATCH = 64
"""Rows of a Parquet file that are in memory at once: one may be megabytes."""


@dataclass(frozen=True)
class Source:
    """A file, or a data set on the hub."""

    name: str
    """Of the data set; of a file, its path."""
    is_file: bool
    format: Format | None = None
    """None: the hub's names are known, and a file's columns say it."""
    split: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A row that is no task."""

    row: str
    """Its instance id, or else its number."""
    reason: str


def read(source: Source) -> Iterator[Task | Skipped]:
    """A source's rows, in their order. UserError for what can't be read at all, or holds no task."""
    rows = _file_rows(Path(source.name)) if source.is_file else _hub_rows(source)
    found, seen, reason = Counter[bool](), set[str](), ""
    first = [*islice(rows, LOOKED_AT)]
    of = source.format or (_common(source.name, first) if source.is_file else known_or_refused(source.name).format)
    for where, content in chain(first, rows):
        row = _row(source, of, where, content)
        if isinstance(row, Task) and row.instance_id in seen:
            row = Skipped(row.instance_id, "another row has the same instance_id")
        if isinstance(row, Task):
            seen.add(row.instance_id)
        else:
            reason = reason or f"{row.row}: {row.reason}"
        found[isinstance(row, Task)] += 1
        yield row
    if not found[True]:
        why = f": all {found[False]} rows were skipped ({reason})" if found[False] else ""
        raise UserError(f"{source.name} holds no task{why}; check that it is the right file, and its format")


def told(name: str, skipped: Iterable[Skipped], most: int = 10) -> list[str]:
    """What is said about skipped rows: a line a reason, with the names of `most` of the rows."""
    rows: dict[str, list[str]] = {}
    for row in skipped:
        rows.setdefault(row.reason, []).append(row.row)
    return [f"{name}: {len(names)} skipped, {reason}: {_listed(names, most)}" for reason, names in rows.items()]


def _listed(names: list[str], most: int) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _row(source: Source, of: Format, where: str, content: object) -> Task | Skipped:
    if not isinstance(content, dict):
        return Skipped(where, "it is no JSON object")
    row: Row = {str(name): value for name, value in content.items() if value is not None}
    named = row.get("instance_id")
    name = named if isinstance(named, str) and named.strip() else where
    if source.is_file and source.format is None and (really := recognised(row) or _default(of)) != of:
        other = f"of {really}" if really else "of no format that is known"
        return Skipped(name, f"its columns are {other}, the file's are of {of}")
    if of is Format.ROLLIN:
        return parse_task(row, f"{source.name}, {where}")  # one's own file is mended, not read around
    try:
        return as_task(row, of, of.value if source.is_file else source.name)
    except Misfit as misfit:
        return Skipped(name, str(misfit))


def _default(of: Format) -> Format | None:
    """What columns of no format are taken for: in a file of one's own, for a task that lacks some."""
    return of if of is Format.ROLLIN else None


def _common(name: str, rows: Iterable[tuple[str, object]]) -> Format:
    """The format of most rows. UserError where no row of a Parquet file has the columns of one; a JSONL file is then
    taken for one's own, so that the field that is missing can be named."""
    formats = Counter(recognised(row) for _, row in rows if isinstance(row, dict))
    found = [of for of, _ in formats.most_common() if of is not None]
    if not found and not name.endswith(".parquet"):
        return Format.ROLLIN
    if not found:
        raise UserError(
            f"{name}: no row has the columns of a known format ({', '.join(Format)}); see docs/software-engineering.md"
        )
    return found[0]


def _file_rows(path: Path) -> Iterator[tuple[str, object]]:
    """(where it stands, a row)."""
    if path.suffix != ".parquet":
        for number, content in json_lines(path):
            yield f"line {number}", content
        return
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            rows = chain.from_iterable(batch.to_pylist() for batch in file.iter_batches(BATCH))
            for number, row in enumerate(rows, start=1):
                yield f"row {number}", row
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} is no Parquet file, or a damaged one; fetch it again") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; check the path") from error


def _hub_rows(source: Source) -> Iterator[tuple[str, object]]:
    """A data set's rows. UserError where it isn't there, InfrastructureFault where the hub does not answer."""
    known = None if source.format else known_or_refused(source.name)
    import datasets  # seconds, which a file doesn't want

    split = source.split or (known.split if known else "train")
    try:
        rows = datasets.load_dataset(source.name, split=split, revision=source.revision)
    except (ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise UserError(
            f"the data set {source.name} can't be had ({_first_line(error)}); check its name, split and revision"
        ) from error
    except (OSError, datasets.exceptions.DatasetsError) as error:
        raise InfrastructureFault(f"the hub gave no {source.name}: {_first_line(error)}") from error
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
