"""Tables and pictures as one HTML page that needs nothing else: no script, no style sheet, no file beside it."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rollin.report.tables import Table, printable

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #24292f; background: #fff; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #d0d7de; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
img { max-width: 100% }
p { color: #57606a }
"""


def page(title: str, tables: Sequence[Table], pictures: Sequence[Path]) -> str:
    """The page's text; the pictures are PNG files."""
    body = [f"<h1>{_text(title)}</h1>"]
    for picture in pictures:
        data = b64encode(picture.read_bytes()).decode()
        body.append(f'<img alt="{_text(picture.stem)}" src="data:image/png;base64,{data}">')
    body += map(_table, tables)
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _table(table: Table) -> str:
    heads = "".join(f"<th>{_text(name)}</th>" for name in table.columns)
    rows = ("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    note = f"<p>{_text(table.note)}</p>" if table.note else ""
    return f"<h2>{_text(table.title)}</h2>\n<table><tr>{heads}</tr>\n" + "\n".join(rows) + f"\n</table>{note}"


def _text(text: str) -> str:
    return escape(printable(text))
