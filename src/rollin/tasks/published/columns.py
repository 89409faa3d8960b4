"""What a column holds, as a task's field: Misfit where it is missing or is something else.

Row        one row of a data set: column -> value
Column     from a row to one field
"""

import json
from collections.abc import Callable
from datetime import date

Row = dict[str, object]
Column = Callable[[Row], object]


class Misfit(Exception):  # noqa: N818 - a property of the row, told and counted, not an error of the program
    """Why a row is no task."""


def text(name: str) -> Callable[[Row], str]:
    """A text that has to be there."""

    def read(row: Row) -> str:
        value = row.get(name)
        if value is None:
            raise Misfit(f"its {name!r} is missing")
        if not isinstance(value, str):
            raise Misfit(f"its {name!r} is no text")
        if not value.strip():
            raise Misfit(f"its {name!r} is empty")
        return value

    return read


def optional(name: str) -> Callable[[Row], str]:
    """A text that may be missing; a version may be a number, and Parquet knows dates."""

    def read(row: Row) -> str:
        value = row.get(name)
        if not isinstance(value, str | int | float | date | None):
            raise Misfit(f"its {name!r} is no text")
        return "" if value is None else str(value)

    return read


def test_ids(name: str) -> Callable[[Row], list[str]]:
    """Test ids, as a list or as JSON in a text."""

    def read(row: Row) -> list[str]:
        value = row.get(name)
        if value is None:
            raise Misfit(f"its {name!r} is missing")
        if isinstance(value, str):
            value = parsed(value, name)
        if not isinstance(value, list) or not all(isinstance(test, str) for test in value):
            raise Misfit(f"its {name!r} is no list of test ids")
        if not all(test.strip() for test in value):
            raise Misfit(f"its {name!r} holds an empty test id")
        return value

    return read


def some_test_ids(name: str) -> Callable[[Row], list[str]]:
    """At least one."""

    def read(row: Row) -> list[str]:
        found = test_ids(name)(row)
        if not found:
            raise Misfit(f"its {name!r} names no test")
        return found

    return read


def parsed(value: str, name: str) -> object:
    """JSON that a column holds as text."""
    try:
        found: object = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Misfit(f"its {name!r} is not JSON") from error
    return found
