"""Where the expert looks: the one command that shows what a repair needs, picked by what the failure says."""

import re
from collections.abc import Iterator

from rollin.policies.expert.knowledge import Fault, scope_of
from rollin.policies.expert.screen import Event, Screen, Sighting
from rollin.policies.expert.steps import Step
from rollin.tasks.schema import Family, Task


def place(fault: Fault, screen: Screen) -> int | None:
    """The line number for the repair, if the screen shows it and all else that the repair needs."""
    seen = [sighting for event in screen.events[screen.changed :] for sighting in event.sightings]
    seen = [sighting for sighting in seen if sighting.path == fault.path]
    if fault.is_import:
        return _above_imports(seen) if screen.shows(fault.needs) else None
    if fault.is_gap:
        return _between_neighbours(seen, fault) if screen.shows(fault.needs) else None
    numbers = [sighting.number for sighting in seen if _shows(sighting, fault)]
    if not numbers or not screen.shows(fault.needs) or (fault.is_spelling and not _spelled(fault, screen)):
        return None
    return fault.line if fault.line in numbers else numbers[-1]


def _shows(sighting: Sighting, fault: Fault) -> bool:
    """Whether it shows the wrong line. A search for a word shows the word alone."""
    if sighting.listed and fault.is_spelling and sighting.text == fault.old:
        return True
    same = sighting.text.strip() == fault.wrong[0].strip()
    in_view = sighting.listed or fault.is_spelling or fault.is_punctuation or not fault.old
    return same and in_view and (sighting.listed or not fault.is_indent)


def _spelled(fault: Fault, screen: Screen) -> bool:
    """Whether the right spelling was looked for, or the interpreter said it, as it does of keys in data."""
    if not fault.path.endswith(".py") or f"Did you mean: '{fault.new}'" in screen.text:
        return True
    looks = [event.output for event in screen.events if event.passed is None and event.reads]
    return any(re.search(rf"\b{fault.new}\b", output) for output in looks)


def _above_imports(seen: list[Sighting]) -> int | None:
    """The line of the first listed import, above which another can stand."""
    imports = [s for s in seen if s.listed and re.match("import |from ", s.text) and "__future__" not in s.text]
    return min((sighting.number for sighting in imports), default=None)


def imported(fault: Fault) -> str:
    """The name that a missing import line defines."""
    return fault.right[0].split()[-1]


def _between_neighbours(seen: list[Sighting], fault: Fault) -> int | None:
    """The line that a gap lies above, by the listed lines on its sides; the nearest where they stand twice."""
    listed = [sighting for sighting in seen if sighting.listed and sighting.text.strip()]
    below = [sighting.number for sighting in listed if sighting.text == fault.after]
    above = [sighting.number + 1 for sighting in listed if sighting.text == fault.before]
    return min([*below, *above], key=lambda number: abs(number - fault.line), default=None)


def look(fault: Fault, screen: Screen, task: Task) -> Step | None:
    """The first look that was not taken since the last change."""
    return next((step for step in _looks(fault, screen, task) if not screen.done(step.command)), None)


def _looks(fault: Fault, screen: Screen, task: Task) -> Iterator[Step]:
    tests = screen.tests or Event("", "")
    if fault.is_import:
        name = fault.right[0].split()[-1]
        yield Step(f"{name} is not imported. See the imports.", f"grep -n '^import\\|^from' {fault.path}")
        yield Step("See the top of the file.", f"grep -n ^ {fault.path} | head -n 6")
    if fault.is_spelling and task.family is Family.VISIBLE:
        yield _spelling(fault, tests)
    if fault.is_indent and task.family is Family.VISIBLE:
        yield _around(fault.path, fault.line, 3)
    frames = [frame.number for frame in tests.traceback if frame.path == fault.path]
    yield from (_around(fault.path, number, 5) for number in reversed(frames) if abs(number - fault.line) <= 5)
    if scope := scope_of(fault, task):
        if not screen.shows([scope]):
            yield Step("See which functions there are.", f"grep -n 'def ' {fault.path}")
        yield Step(f"Look at {scope}.", f"grep -n -A12 'def {scope}' {fault.path}")
        yield Step(f"Look at more of {scope}.", f"grep -n -A40 'def {scope}' {fault.path}")
    yield _around(fault.path, fault.line, 9)


def _spelling(fault: Fault, tests: Event) -> Step:
    """Search by the first letter, which a slip of the keyboard inside a word leaves alone."""
    pattern = rf"{fault.new[0]}\w*"
    if not fault.path.endswith(".py"):
        return Step(f"Is {fault.new} misspelled in the data?", f"git grep -now '{pattern}' '*.json' '*.ini'")
    files = f"git grep -ohw '{pattern}'" if "KeyError" in tests.error else f"grep -ow '{pattern}' {fault.path}"
    return Step(f"{fault.old} is misspelled. Find the right word.", f"{files} | sort -u")


def _around(path: str, number: int, lines: int) -> Step:
    return Step(f"Look at line {number}.", f"grep -n ^ {path} | grep -C{lines} ^{number}:")
