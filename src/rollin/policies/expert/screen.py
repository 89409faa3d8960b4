"""What a conversation shows: the commands so far, their outputs, and what of it still holds.

Event      one turn that is over: a command and what it printed
Sighting   a line of a file that some output showed, with its number
Readings   what a line could be that Python can't read, as the last try showed it
Screen     the bug report and the events
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest

from rollin.messages import Message, offered
from rollin.policies.expert.calls import command_in
from rollin.policies.expert.steps import (
    BASE,
    EXCHANGE,
    PICK,
    REVERT,
    TEST,
    THEN_TEST,
    in_full,
    is_similar,
    readings_of,
    taken,
)

SCAFFOLD = ("system", "developer")
_VERDICT = re.compile(r"\b\d+ (?:passed|failed|errors?|skipped)\b.* in [\d.]+s|no tests ran")
_PARTIAL = re.compile(r"::|\s-k")
"""What has pytest run some of the tests only."""
_FRAME = re.compile(r"^([\w./-]+\.\w+):(\d+): in (\S+)")
_SYNTAX = re.compile(r'^E\s+File "(?:/repo/)?([^"]+)", line (\d+)')
_LISTED = re.compile(r"^\s*(\d+)[:\t-](.*)$")
_FOUND = re.compile(r"^([\w./-]+\.\w+)[:-](\d+)[:-](.*)$")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")

_READS = re.compile(
    r"(awk|cat|cut|echo|file|grep|head|less|ls|nl|pwd|pytest|sort|stat|tail|tree|true|uniq|wc|which|"
    r"python3? -m pytest|git (blame|diff|grep|log|ls-files|reflog|rev-parse|show|status)|"
    r"find(?!.* -(delete|exec))|sed(?!.* -i).* -n)\b[^>]*"
)


@dataclass(frozen=True)
class Sighting:
    """A line of a file that an output showed."""

    path: str
    number: int
    text: str
    listed: bool
    """Shown in a numbered listing, indentation and neighbours included, not in a traceback."""


@dataclass(frozen=True)
class Event:
    """One turn that is over. `command` is empty where the message held no command."""

    command: str
    output: str

    @cached_property
    def passed(self) -> bool | None:
        """What the tests said; None where they were not run, or not to the end, or where only some were, and pass."""
        verdicts = _VERDICT.findall(self.output)
        if "pytest" not in self.command or (not verdicts and self.timed_out):
            return None
        passed = bool(verdicts) and "passed" in verdicts[-1] and not re.search(r"\b(failed|error)", verdicts[-1])
        return None if passed and (_PARTIAL.search(self.command) or "deselected" in verdicts[-1]) else passed

    @property
    def timed_out(self) -> bool:
        """Whether the sandbox stopped the command."""
        return self.output.endswith("(timed out)")

    @cached_property
    def reads(self) -> bool:
        """Whether the command only shows and changes nothing."""
        parts = re.split(r"\||&&|;|\n", _QUOTED.sub("_", self.command))
        looks = is_similar(self.command) or readings_of(self.command) is not None
        return looks or all(_reads(part) for part in parts if part.strip())

    @cached_property
    def traceback(self) -> list[Sighting]:
        """The frames of a failure, outermost first; a syntax error's own line is the last."""
        lines = self.output.splitlines()
        return [
            Sighting(found[1], int(found[2]), below.removeprefix("E").strip(), listed=False)
            for line, below in zip_longest(lines, lines[1:], fillvalue="")
            if (found := _FRAME.match(line) or _SYNTAX.match(line))
        ]

    @cached_property
    def message(self) -> str:
        """The exception's own words; the code that pytest shows with a syntax error is indented further."""
        return "\n".join(re.findall(r"^E   (\S.*)", self.output, re.MULTILINE))

    @cached_property
    def sightings(self) -> list[Sighting]:
        """The lines of files that the output shows."""
        return [*self.traceback, *self._listing()] if self.reads else []

    def _listing(self) -> Iterator[Sighting]:
        named = [path.removeprefix("./") for path in re.findall(r"[\w./-]+\.\w+", _QUOTED.sub("_", self.command))]
        for line in self.output.splitlines():
            if found := _FOUND.match(line):
                yield Sighting(found[1], int(found[2]), found[3], listed=True)
            elif named and (listed := _LISTED.match(line)):
                yield Sighting(named[0], int(listed[1]), listed[2], listed=True)


@dataclass(frozen=True)
class Readings:
    """What a line could be that Python can't read, as the last try showed it. Any other change makes it stale."""

    path: str
    number: int
    shown: dict[int, str]
    """By its number, the line as far as it was printed."""

    def in_full(self, command: str) -> str:
        """A command that takes one of them, with what it takes; any other as it is."""
        found = re.fullmatch(rf"{PICK}(\d+) \./(\S+)", command)
        known = found is not None and found[2] == self.path and int(found[1]) in self.shown
        return taken(self.path, self.number, int(found[1])) if found and known else command


class Screen:
    """A state, read: what was asked, what was done, and what it showed."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.tools, messages = offered(messages)
        self.text = "\n".join(message["content"] for message in messages if message["role"] not in SCAFFOLD)
        """What was said of the task: the words of a scaffold's own prompt say nothing of it."""
        self.similar_words = ""
        """What the latest look for similar words printed."""
        self.readings: Readings | None = None
        self.events = list[Event]()
        for event in _events(messages):
            self.events.append(self._read(event))

    def _read(self, event: Event) -> Event:
        """An event with its command in full; what the latest looks showed is kept for the next ones."""
        command = in_full(event.command, self.similar_words)
        if is_similar(event.command):
            self.similar_words = event.output.strip()
        elif asked := readings_of(event.command):
            shown = re.findall(r"^ *(.*) # (\d+)$", event.output, re.MULTILINE)
            self.readings = Readings(*asked, {int(place): reading for reading, place in shown})
        elif self.readings and (chosen := self.readings.in_full(command)) != command:
            command = chosen
        elif not event.reads:
            self.readings = None
        return replace(event, command=command)

    @cached_property
    def changed(self) -> int:
        """The number of events up to the last one that may have changed something."""
        return max((at for at, event in enumerate(self.events, 1) if not event.reads), default=0)

    @cached_property
    def since_base(self) -> list[Event]:
        """The events after the last return to the base commit."""
        back = max((at for at, event in enumerate(self.events, 1) if event.command == BASE), default=0)
        return self.events[back:]

    @cached_property
    def tests(self) -> Event | None:
        """The latest test run that still holds."""
        return next((event for event in reversed(self.events[self.changed :]) if event.passed is not None), None)

    @cached_property
    def test_file(self) -> str:
        """The file of the latest failing test, where all tests together take too long."""
        if not any(event.timed_out and event.command.startswith(f"{TEST} |") for event in self.events):
            return ""
        frames = (event.traceback[0].path for event in reversed(self.events) if event.traceback)
        return next((path for path in frames if re.search(r"^[\w-].*test", path)), "")

    def done(self, command: str) -> bool:
        """Whether that very command was run since the last change."""
        return any(event.command == command for event in self.events[self.changed :])

    def shows(self, words: Iterable[str]) -> bool:
        """Whether all the words stand somewhere on the screen."""
        return all(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", self.text) for word in words)


def _events(messages: Sequence[Message]) -> Iterator[Event]:
    """Each assistant message, with what came after it up to the next."""
    acting = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    for at, after in zip(acting, [*acting, len(messages)][1:], strict=True):
        output = "\n".join(message["content"] for message in messages[at + 1 : after])
        yield from _parts(command_in(messages[at]), output)


def _parts(command: str, output: str) -> Iterator[Event]:
    """The events of one turn: a repair and its check in the same command are two."""
    repair, check, rest = command.partition(THEN_TEST)
    if check and (repair.startswith(("sed -i ", PICK)) or repair in (EXCHANGE, REVERT)):
        yield Event(repair, "")
        command = TEST + rest
    yield Event(command, output)


def _reads(part: str) -> bool:
    return _READS.fullmatch(re.sub(r"2>&1|2>\s*/dev/null", "", part).strip()) is not None
