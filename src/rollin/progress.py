"""How far a long phase has come: bars on a terminal, plain lines anywhere else."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rollin.report.tables import printable

LINE_SECONDS = 15.0
"""Plain lines come no faster than this."""


class Bar(Protocol):
    """One phase under way."""

    def advance(self, steps: int = 1, note: str = "", of: int | None = None) -> None:
        """So many more steps are done; `note` is what a person would like to see beside the count.

        `of` is how many steps the phase has, where that was a guess before.
        """
        ...


class Reporter(Protocol):
    """Tells a person what a run is doing."""

    def say(self, line: str) -> None: ...

    def phase(self, name: str, steps: int) -> AbstractContextManager[Bar]:
        """`with reporter.phase("training", 40) as bar: ...`"""
        ...


class ConsoleReporter:
    """Writes to a rich console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        self._console.print(printable(line), highlight=False, markup=False)

    def phase(self, name: str, steps: int) -> AbstractContextManager[Bar]:
        return _on_terminal(self._console, name, steps) if self._console.is_terminal else _in_lines(self, name, steps)


class _TerminalBar:
    def __init__(self, progress: Progress, name: str, steps: int) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=steps, note="")

    def advance(self, steps: int = 1, note: str = "", of: int | None = None) -> None:
        self._progress.update(self._task, advance=steps, note=note, total=of)


@contextmanager
def _on_terminal(console: Console, name: str, steps: int) -> Iterator[Bar]:
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _TerminalBar(progress, name, steps)


class _LineBar:
    def __init__(self, reporter: ConsoleReporter, name: str, steps: int) -> None:
        self._reporter, self._name, self.steps = reporter, name, steps
        self._done, self._note = 0, ""
        self._began = self._told = time.monotonic()

    def advance(self, steps: int = 1, note: str = "", of: int | None = None) -> None:
        self._done, self._note, self.steps = self._done + steps, note, self.steps if of is None else of
        if time.monotonic() - self._told >= LINE_SECONDS:
            self.tell()

    def tell(self) -> None:
        self._told = time.monotonic()
        seconds = self._told - self._began
        left = seconds / self._done * (self.steps - self._done) if self._done else 0.0
        rate = f"{self._done / seconds:.2f}/s" if seconds else ""
        note = f"  {self._note}" if self._note else ""
        self._reporter.say(f"{self._name}: {self._done}/{self.steps}  {seconds:.0f} s  {rate}  {left:.0f} s left{note}")


@contextmanager
def _in_lines(reporter: ConsoleReporter, name: str, steps: int) -> Iterator[Bar]:
    bar = _LineBar(reporter, name, steps)
    try:
        yield bar
    finally:
        if bar.steps:  # tasks that are no repositories need no building, and that is not worth a line
            bar.tell()
