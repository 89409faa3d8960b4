"""Tables that read the same on a terminal and in Markdown, whatever their cells hold."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~])")


@dataclass(frozen=True)
class Table:
    """The first column names the rows; the others hold numbers, and are set to the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    """A sentence below the table: what its numbers mean."""

    def to_rich(self) -> RichTable:
        """For a rich console. Cells are text, never markup."""
        table = RichTable(title=Text(self.title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
        table.caption, table.caption_justify = Text(self.note, "dim"), "left"
        for place, name in enumerate(self.columns):
            table.add_column(Text(printable(name)), justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table

    def to_markdown(self) -> str:
        """GitHub's kind of table, below a heading."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [_line(map(markdown, self.columns)), _line(rule), *(_line(map(markdown, row)) for row in self.rows)]
        note = f"\n{markdown(self.note)}\n" if self.note else ""
        return f"## {markdown(self.title)}\n\n" + "\n".join(lines) + "\n" + note


def printable(text: str) -> str:
    """Without what would steer a terminal: agents print escape sequences, and lone surrogates can't be encoded."""
    return _CONTROL.sub("�", _ESCAPE_SEQUENCE.sub("", text).replace("\r\n", "\n"))


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", printable(text).replace("&", "&amp;")).replace("\n", " ")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
