"""Where the expert looks: the one command that shows what a repair needs, picked by what the failure says."""

import re
from collections.abc import Iterator

from rollin.policies.expert.knowledge import Fault, scope_of, text_of
from rollin.policies.expert.screen import Event, Screen, Sighting
from rollin.policies.expert.steps import Step, similar
from rollin.tasks.schema import Family, Task


def place(fault: Fault, screen: Screen, task: Task) -> int | None:
    """The line number for the repair, if the screen shows it and all else that the repair needs.

    A lost import needs no number but the look that every unknown name gets: it tells a module from a slip.
    """
    if fault.is_import:
        return fault.line if any(event.command == _like_lost(fault).command for event in screen.events) else None
    if not screen.shows(_needed(fault, task)):
        return None
    seen = _seen(fault.path, screen)
    if fault.is_gap:
        return _between_neighbours(seen, fault)
    slip = fault.is_spelling and task.family is Family.VISIBLE
    if slip and fault.is_data:
        return fault.line if _spelled(fault, screen) else None
    twins = _twins(fault, task)
    numbers = [sighting.number for sighting in seen if _shows(sighting, fault, task) and sighting.number not in twins]
    if not numbers or (slip and not _spelled(fault, screen)):
        return None
    return fault.line if fault.line in numbers else numbers[-1]


def _twins(fault: Fault, task: Task) -> set[int]:
    """The numbers of other lines that read like the wrong one, and are right."""
    lines = enumerate(text_of(fault.path, task).split("\n"), start=1)
    return {number for number, line in lines if line.strip() == fault.wrong[0].strip()} - {fault.line}


def _seen(path: str, screen: Screen) -> list[Sighting]:
    """The lines of a file that were shown since the last change."""
    seen = (sighting for event in screen.events[screen.changed :] for sighting in event.sightings)
    return [sighting for sighting in seen if sighting.path == path]


def listed(path: str, screen: Screen) -> dict[int, str]:
    """The lines of a file, by number, that were listed since the last change."""
    return {sighting.number: sighting.text for sighting in _seen(path, screen) if sighting.listed}


def _needed(fault: Fault, task: Task) -> set[str]:
    """The words that have to be on the screen. What a mutation took away altogether has to be thought of."""
    if task.family is Family.VISIBLE:
        return fault.needs
    return fault.needs & set(re.findall(r"\w+", text_of(fault.path, task)))


def _shows(sighting: Sighting, fault: Fault, task: Task) -> bool:
    """Whether it shows the wrong line, and well enough: only a listing shows indentation, and invites to think."""
    told = fault.is_spelling or (fault.is_of_text and task.family is Family.VISIBLE)
    return sighting.text.strip() == fault.wrong[0].strip() and (sighting.listed or told)


def _spelled(fault: Fault, screen: Screen) -> bool:
    """Whether the right spelling was asked for: that it stands somewhere on the screen is not enough, so that the same
    failure is followed by the same step."""
    asked = {step.command for step in _spelling(fault)}
    answers = [event.output for event in screen.events if event.command in asked]
    wanted = fault.old if fault.is_data else fault.new
    return any(re.search(rf"\b{wanted}\b", answer) for answer in answers)


def _between_neighbours(seen: list[Sighting], fault: Fault) -> int | None:
    """The line that a gap lies above, by the listed lines on its sides; the nearest where they stand twice."""
    shown = [sighting for sighting in seen if sighting.listed and sighting.text.strip()]
    below = [sighting.number for sighting in shown if sighting.text == fault.after]
    above = [sighting.number + 1 for sighting in shown if sighting.text == fault.before]
    return min([*below, *above], key=lambda number: abs(number - fault.line), default=None)


def look(fault: Fault, screen: Screen, task: Task) -> Step | None:
    """The first look that was not taken since the last change."""
    return next((step for step in _looks(fault, screen, task) if not screen.done(step.command)), None)


def _looks(fault: Fault, screen: Screen, task: Task) -> Iterator[Step]:
    tests = screen.tests or Event("", "")
    frames = [frame.number for frame in tests.traceback if frame.path == fault.path]
    if fault.is_import:
        yield _like_lost(fault)
    if task.family is Family.VISIBLE:
        if fault.is_spelling:
            yield from _spelling(fault)
        if fault.is_of_line:
            yield around(fault.path, frames[-1] if frames else fault.line, 1)
    yield from (around(fault.path, number, 5) for number in reversed(frames) if abs(number - fault.line) <= 5)
    yield from _reading(fault, screen, task)
    yield around(fault.path, fault.line, 9)


def _reading(fault: Fault, screen: Screen, task: Task) -> Iterator[Step]:
    """Read the fault's function from its `def` on; find it first where the screen does not name it."""
    scope, start = scope_of(fault, task)
    if not scope:
        return
    shown = {sighting.number for sighting in _seen(fault.path, screen) if sighting.listed}
    if start in shown:
        last = max(number for number in shown if start <= number <= max(fault.line, start))
        yield Step("Read on.", f"grep -n ^ {fault.path} | grep -A20 ^{last}:")
        return
    text = text_of(fault.path, task)
    if not screen.shows([scope]):
        yield Step("See which functions there are.", f"grep -n 'def ' {fault.path}")
    context = " -A12" if len(re.findall(rf"def {scope}", text)) == 1 else ""
    yield Step(f"Look at {scope}.", f"grep -n{context} 'def {scope}' {fault.path}")


def _spelling(fault: Fault) -> Iterator[Step]:
    """Ask which word is like the unknown one; at last, see all words of a kind."""
    yield _like(fault.new if fault.is_data else fault.old)
    yield Step(f"{fault.old} is misspelled.", rf"git grep -ohw '{fault.new[0]}\w*{fault.new[-1]}' | sort -u")


def _like(word: str) -> Step:
    return Step("Which words are like it?", similar(word))


def _like_lost(fault: Fault) -> Step:
    """The same look at the name that a lost import brought."""
    return _like(fault.right[0].split()[-1])


def around(path: str, number: int, lines: int) -> Step:
    """Look at a line and so many on each side."""
    return Step(f"Look at line {number}.", f"grep -n ^ ./{path} | grep -C{lines} ^{number}:")
