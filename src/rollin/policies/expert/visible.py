"""What the expert does about faults that lie in the files: run the tests, look, repair, check, submit.

The rules in order; the first that fits decides.
1. No test result since the last change: run the tests.
2. They pass: submit, but see the changes first if a test file may have been touched.
3. They fail, and the screen doesn't say how: run them as the expert does.
4. One of the task's faults explains the failure: repair it, or look at what the repair needs.
5. Something else was changed: write a fault's line anew if it was made another wrong one; else see the changes, undo
   those that are wrong, at last throw all away.
6. Any fault is left: look at it, starting from the functions that the failing test names.
"""

import re
from dataclasses import replace

from rollin.policies.expert.knowledge import Fault, faults_of, text_of
from rollin.policies.expert.looks import around, listed, look, place
from rollin.policies.expert.screen import Event, Screen
from rollin.policies.expert.sed import exchange, insertion, repair, rewrite
from rollin.policies.expert.steps import (
    DIFF,
    FINISH,
    LIST_TESTS,
    SEE_CHANGES,
    START_OVER,
    UNDO,
    Step,
    and_check,
    arguments,
    check_repair,
    in_short,
    pick,
    readings,
    run_tests,
    taken,
    undo,
)
from rollin.tasks.schema import Family, Task

NEAR = 2
"""Lines by which imports that were put in may have moved a fault."""


def decide(screen: Screen, task: Task) -> Step:
    """The next step for a task whose faults lie in the files."""
    faults = faults_of(task.patch)
    tests = screen.tests
    if tests is None:
        edited = bool(screen.events) and screen.events[-1].command.startswith("sed -i ")
        return check_repair(screen.test_file) if edited else test_again(screen, task)
    if tests.passed:
        return SEE_CHANGES if _may_cheat(screen) else _wrong_changes(screen, faults) or FINISH
    strange = any(is_strange(event, task) for event in screen.since_base)
    in_full = run_tests(screen.test_file)
    if not (tests.traceback or tests.message or screen.done(in_full.command)):
        return replace(in_full, mends=strange)
    left = [fault for fault in faults if not _is_repaired(fault, screen, task)]
    if fault := _explaining(tests, left, faults):
        return work_on(fault, screen, task)
    if strange:
        if step := _mend(left, screen):
            return step
        if not screen.done(DIFF):
            return SEE_CHANGES
        if step := _wrong_changes(screen, faults):
            return step
        if task.family is Family.VISIBLE:
            return START_OVER
    return work_on(left[0], screen, task) if left else START_OVER


def test_again(screen: Screen, task: Task) -> Step:
    """Run the tests; where they took too long twice, those of one file."""
    if sum(event.timed_out for event in screen.events[screen.changed :]) < 2:
        return run_tests(screen.test_file)
    shown = next((path for path in task.test_files if path in screen.text), "")
    return run_tests(shown) if shown else LIST_TESTS


def work_on(fault: Fault, screen: Screen, task: Task) -> Step:
    """Repair it if the screen shows what that needs, else look."""
    if fault.is_of_line and task.family is Family.VISIBLE and (step := _find_place(fault, screen)):
        return step
    number = place(fault, screen, task)
    step = look(fault, screen, task) if number is None else None
    text = text_of(fault.path, task)
    command = repair(fault, number or fault.line, text)
    if sum(event.command == command for event in screen.since_base) >= 2:
        return START_OVER
    command = in_short(command, screen.similar_words)
    return step or Step(_saying(fault, number or fault.line, text), and_check(command, screen.test_file))


def _find_place(fault: Fault, screen: Screen) -> Step | None:
    """Try where on its line it can be repaired, then take the reading that is meant; None where it failed elsewhere."""
    frames = [frame for frame in screen.tests.traceback if frame.path == fault.path] if screen.tests else []
    if not frames or frames[-1].text != fault.wrong[0].strip():
        return None
    step = _try(fault, frames[-1].number)
    return _take(fault, screen) if screen.done(step.command) else step


def _try(fault: Fault, number: int) -> Step:
    """Try what the line could be."""
    if fault.is_argument:
        return Step(f"Line {number} lacks {fault.new.strip(', ')}.", arguments(fault.path, number, fault.new))
    return Step(f"Line {number} can't be read.", readings(fault.path, number))


def _take(fault: Fault, screen: Screen) -> Step | None:
    """Take the reading that is meant, where the latest try showed it and it was not taken before."""
    shown = screen.readings
    if not (shown and fault.is_of_line and shown.path == fault.path):
        return None
    command = taken(fault.path, shown.number, fault.place)
    if shown.shown.get(fault.place) != fault.reading or any(event.command == command for event in screen.since_base):
        return None
    return Step(f"{fault.reading} # {fault.place}", and_check(pick(fault.place, fault.path), screen.test_file))


def _saying(fault: Fault, number: int, text: str) -> str:
    """Think first what the command then does."""
    if fault.is_import:
        return f"Nobody imported {fault.right[0].split()[-1]}."
    if fault.is_indent:
        return f"Line {number} is indented wrongly."
    if fault.is_of_text and (lost := insertion(fault)):
        return f"Line {number} lacks {lost}."
    if fault.is_spelling:
        return "That is its right name."
    if exchanged := exchange(fault, text):
        return f"It should be {exchanged[1]}."
    return "Put the right lines here."


def repairs(event: Event, task: Task) -> Fault | None:
    """The fault that an event's command repairs, if it is a repair at any line."""
    number = re.search(r"\d+", event.command)
    line = int(number[0]) if number else 0
    if not event.command.startswith("sed -i "):
        return None
    return next((fault for fault in faults_of(task.patch) if event.command in _ways(fault, line, task)), None)


def _ways(fault: Fault, number: int, task: Task) -> list[str]:
    """The commands that repair a fault whose line has that number now."""
    ways = [repair(fault, number, text_of(fault.path, task)), rewrite(fault, number)]
    return [*ways, taken(fault.path, number, fault.place)] if fault.is_of_line else ways


def _mend(left: list[Fault], screen: Screen) -> Step | None:
    """Take another reading of a fault's line, or write it anew where it failed again; look at it first.

    To undo is the longer way, and one thing more for a student to learn; to do it right is what it has to learn anyway.
    """
    for fault in left:
        if step := _take(fault, screen):
            return replace(step, mends=True)
        frames = [frame.number for frame in screen.tests.traceback if frame.path == fault.path] if screen.tests else []
        near = [number for number in frames if abs(number - fault.line) <= NEAR]
        if not near or len(fault.wrong) != 1 or len(fault.right) != 1 or not screen.shows(fault.needs):
            continue
        number, lines = near[-1], listed(fault.path, screen)
        if number not in lines:
            return around(fault.path, number, 1)
        if fault.before == lines.get(number - 1) or fault.after == lines.get(number + 1):
            command = rewrite(fault, number)
            if lines[number] != fault.right[0] and all(event.command != command for event in screen.since_base):
                return Step(f"Write line {number} anew.", and_check(command, screen.test_file), mends=True)
    return None


def _is_repaired(fault: Fault, screen: Screen, task: Task) -> bool:
    """Whether its repair is the latest that is known of it."""
    for event in reversed(screen.since_base):
        if repairs(event, task) == fault:
            return True
        back = re.search(r"git (checkout|restore|reset|stash)\b(.*)", event.command)
        if back and (fault.path in back[2] or not re.search(r"\w\.\w", back[2])):
            return False
    return False


def is_strange(event: Event, task: Task) -> bool:
    """Whether it may have changed something and is no repair."""
    return not event.reads and repairs(event, task) is None


def _may_cheat(screen: Screen) -> bool:
    """Whether a test file may have been changed since the last look at all changes."""
    events = screen.since_base
    seen = max((at for at, event in enumerate(events, 1) if event.command == DIFF), default=0)
    return any("test" in event.command and not event.reads and UNDO not in event.command for event in events[seen:])


def _explaining(tests: Event, left: list[Fault], faults: tuple[Fault, ...]) -> Fault | None:
    """The fault that the failure shows: by its line, or by its word in the error."""
    texts = [frame.text for frame in reversed(tests.traceback)]
    words = set(re.findall(r"\w+", tests.message))

    def evidence(fault: Fault) -> tuple[bool, bool, int]:
        lines = [texts.index(line.strip()) for line in fault.wrong if line.strip() in texts]
        own = {fault.old, fault.new} if fault.is_spelling else fault.needs - {"import", "from"}
        named = bool(words & own)
        return named and (bool(lines) or fault in left), bool(lines), -min(lines, default=0)

    shown = [fault for fault in faults if any(evidence(fault)[:2])]
    return max(shown, key=evidence, default=None)


def _wrong_changes(screen: Screen, faults: tuple[Fault, ...]) -> Step | None:
    """What to do about the latest diff on the screen; None if all of it repairs faults."""
    shown = next((event.output for event in reversed(screen.events[screen.changed :]) if event.command == DIFF), "")
    wrong, path, added = list[str](), "", False
    for line in shown.splitlines():
        if line.startswith(("--- ", "+++ ")):
            path = line[6:] if line[4:6] in ("a/", "b/") else path
            added = added or line == "--- /dev/null"
        elif line.startswith(("-", "+")):
            own = [fault.wrong if line[0] == "-" else fault.right for fault in faults if fault.path == path]
            if path not in wrong and not any(line[1:] in lines for lines in own):
                wrong.append(path)
    if not wrong:
        return None
    step = undo(wrong)
    tried = sum(event.command == step.command for event in screen.since_base)
    return step if tried < 2 and not added else START_OVER
