"""Regressions: a history of plausible commits, one of which broke the code while it seemed to tidy it.

The history is made backwards from the files as they are: commits after the bad one (at least one is a feature, which
brings tests that fail without it, so going back to before loses it), the bad one, commits before it. The fault itself
is a semantic one, and stands in every state from the bad commit on. A feature adds a function, or repairs something.
"""

import random
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from rollin.tasks.faults import revisions
from rollin.tasks.faults.base import Fault, Files, Source, changes, line_of
from rollin.tasks.faults.revisions import Revision, Undo, functions
from rollin.tasks.schema import Commit

COMMITS = (5, 10)
"""The shortest and the longest history, the first commit included."""
CONFLICTS = 0.3
"""The share of histories in which a later commit touches the line beside the broken one: `git revert` conflicts."""
WITH_A_TIDYING = 0.5
"""The share of bad commits that hold a harmless change too."""

ROOT_SUBJECT = "Initial version"
BAD_SUBJECTS = ("Simplify {}", "Tidy {}", "Clean up {}", "Refactor {}", "Shorten {}", "Rework {}")
HARMLESS: Sequence[Undo] = (
    revisions.undo_docstring,
    revisions.undo_rename,
    revisions.undo_test,
    revisions.undo_function,
    revisions.undo_hint,
    revisions.undo_comment,
    revisions.undo_readme,
)
TIDYING: Sequence[Undo] = (revisions.undo_rename, revisions.undo_docstring, revisions.undo_hint)


@dataclass(frozen=True)
class History:
    """States of the files, oldest first, and the commits that lead to them."""

    subjects: tuple[str, ...]
    states: tuple[Files, ...]
    bad: int
    """Which commit broke it; from there on the states hold the fault."""
    repaired: Files
    """The last state without the fault."""
    conflicts: bool

    def commits(self, pristine: Files) -> list[Commit]:
        """The commits in a task's form: the first one counts from the pristine files."""
        commits, before = [], pristine
        for subject, state in zip(self.subjects, self.states, strict=True):
            commits.append(Commit(subject=subject, files=changes(before, state)))
            before = state
        return commits


@dataclass(frozen=True)
class _Break:
    """A fault in whole lines, which can be found again in other states of the file."""

    path: str
    old: str
    new: str
    function: str

    def apply(self, files: Files) -> Files | None:
        """The files with the fault in; None where the lines don't stand there exactly once."""
        text = "\n" + files[self.path]
        if text.count("\n" + self.old) != 1:
            return None
        return {**files, self.path: text.replace("\n" + self.old, "\n" + self.new)[1:]}

    def commented(self, files: Files, comment: str) -> Files:
        """The files with a comment right above the lines."""
        text = ("\n" + files[self.path]).replace("\n" + self.old, f"\n{self._indent}{comment}\n{self.old}")
        return {**files, self.path: text[1:]}

    def undo_comment(self, comment: str) -> Undo:
        """Takes that comment back."""

        def undo(files: Files, path: str, rng: random.Random) -> Revision:
            text = files[path].replace(f"{self._indent}{comment}\n{self.old}", self.old)
            return Revision(f"Comment on {self.function}", {**files, path: text}, self.function)

        return undo

    @property
    def _indent(self) -> str:
        return self.old[: len(self.old) - len(self.old.lstrip())]


def undo_repair(files: Files, noticed: Collection[tuple[Fault, Collection[str]]]) -> Undo:
    """Takes back that someone repaired one of these faults in `files`, together with the tests that notice it."""
    breaks = [(broken, tests) for fault, tests in noticed if (broken := _broken_lines(files, fault))]

    def undo(state: Files, path: str, rng: random.Random) -> Revision | None:
        for broken, tests in rng.sample(breaks, len(breaks)):
            untested = revisions.undo_tests(state, tests)
            earlier = broken.apply(untested) if untested else None
            if earlier:
                return Revision(f"Fix {broken.function}", earlier, broken.function)
        return None

    return undo


def synthesise(
    files: Files, fault: Fault, rng: random.Random, feature: Undo = revisions.undo_function
) -> History | None:
    """A history that ends in `files` (and some harmless additions) with `fault` in; None where it can't be had.
    Its features are those that `feature` takes back."""
    count, conflicts = rng.randint(*COMMITS), rng.random() < CONFLICTS
    bad = rng.randint(2, count - (3 if conflicts else 2))
    line = line_of(files[fault.path], fault.start)
    head: Files = revisions.with_comment(revisions.with_hints(files, fault.path, rng), fault.path, line, rng)
    broken = _broken_lines(files, fault)
    if broken is None or broken.apply(head) is None:
        return None
    harmless = [feature if undo is revisions.undo_function else undo for undo in HARMLESS]
    plan: list[Sequence[Undo]] = [harmless] * (count - 1 - bad)
    special = rng.sample(range(len(plan)), 1 + conflicts)
    plan[special[0]] = [feature]
    if conflicts:
        comment = rng.choice(revisions.COMMENTS)
        head = broken.commented(head, comment)
        plan[special[1]] = [broken.undo_comment(comment)]
    later = _back(head, plan, broken, rng)
    if later is None:
        return None
    before = later[-1].files
    tidying = _first(TIDYING, before, broken, rng) if rng.random() < WITH_A_TIDYING else None
    earlier = _back(tidying.files if tidying else before, [harmless] * (bad - 1), broken, rng)
    if earlier is None:
        return None
    sound = [*(step.files for step in earlier[::-1]), tidying.files if tidying else before]
    spoilt = [broken.apply(state) for state in (*(step.files for step in later[::-1]), head)]
    subject = rng.choice(BAD_SUBJECTS).format(broken.function)
    subjects = [step.subject for step in earlier[::-1]], [subject], [step.subject for step in later[::-1]]
    states = (*sound, *(state for state in spoilt if state is not None))
    return History((ROOT_SUBJECT, *chain(*subjects)), states, bad, head, conflicts)


def has_place(files: Files, fault: Fault) -> bool:
    """Whether a history could hold a fault: its lines stand in a function, and nowhere else."""
    broken = _broken_lines(files, fault)
    return broken is not None and broken.apply(files) is not None


def _broken_lines(files: Files, fault: Fault) -> _Break | None:
    """The fault's lines and the function that holds them."""
    text = files[fault.path]
    start = text.rfind("\n", 0, fault.start) + 1
    end = fault.end if text[fault.end - 1 : fault.end] == "\n" else text.find("\n", fault.end) + 1
    line = line_of(text, fault.start)
    holders = [
        node.name
        for node in functions(Source.parse(files, fault.path))
        if node.lineno <= line <= (node.end_lineno or 0)
    ]
    new = text[start : fault.start] + fault.text + text[fault.end : end]
    if not holders or end <= start:
        return None
    return _Break(fault.path, text[start:end], new, holders[-1])


def _back(files: Files, plan: Sequence[Sequence[Undo]], broken: _Break, rng: random.Random) -> list[Revision] | None:
    """Undo one commit after the other, youngest first; None if one can't be had."""
    steps: list[Revision] = []
    for choices in plan:
        step = _first(choices, steps[-1].files if steps else files, broken, rng)
        if step is None:
            return None
        steps.append(step)
    return steps


def _first(undo: Sequence[Undo], files: Files, broken: _Break, rng: random.Random) -> Revision | None:
    """The first revision, in random order, that there is to undo and that leaves the fault's lines where they are."""
    for choice in rng.sample(list(undo), len(undo)):
        with suppress(SyntaxError):  # what was taken out left nothing behind, such as an empty class
            step = choice(files, broken.path, rng)
            if step is not None and broken.apply(step.files) is not None:
                for path in step.files:
                    if path.endswith(".py") and step.files[path] != files[path]:
                        Source.parse(step.files, path)
                return step
    return None
