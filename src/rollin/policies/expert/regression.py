"""What the expert does about a commit that broke something: bisect by hand, revert, check, submit.

The rules in order; the first that fits decides.
1. The history was moved by a strange command: start over from the base commit.
2. A revert conflicted, and to take the culprit's lines back was not enough: see what it changed, and put that back line
   by line as a visible fault.
3. A bisect is under way: pass on the tests' verdict; a wrong verdict means to bisect again; at the end, revert.
4. No test result since the last change: run the tests. They pass: submit.
5. They fail, and something was changed: start over.
6. They fail: bisect.
"""

import re
from collections.abc import Sequence

from rollin.policies.expert import steps, visible
from rollin.policies.expert.knowledge import Fault, faults_of
from rollin.policies.expert.looks import place
from rollin.policies.expert.screen import Event, Screen
from rollin.policies.expert.sed import quoted
from rollin.policies.expert.steps import Step
from rollin.tasks.schema import Task

_VERDICT = re.compile(r"git bisect (good|bad)\b")
_ASTRAY = re.compile(r"^(Aborting|You need to start|fatal: |error: )|waiting for", re.M)
_FAILED = re.compile(r"not found|No such file|fatal: |^usage: |error: (unknown|pathspec)|not a git command", re.M)
_MOVES = re.compile(
    r"git (-\S+ )*(checkout|switch) (?!(-qf? )?main\b|(-\S+ )*(HEAD |main )?(-- )?(\.$|\S+\.\w+))"
    r"|git (-\S+ )*(reset|rebase|merge|cherry-pick|branch -|pull|update-ref|init|am|stash)|rm .*\.git\b"
)


def decide(screen: Screen, task: Task) -> Step:
    """The next step for a task that one commit of the history broke."""
    since = screen.since_base
    if any(_moves(event) for event in since):
        return steps.START_OVER
    if any("CONFLICT" in event.output and not event.reads for event in since):
        return steps.START_OVER
    after = next((since[at:] for at, event in enumerate(since, 1) if event.command == steps.REVERT), [])
    if after and "CONFLICT" in after[0].output:
        return _put_back(screen, after, task)
    file = screen.test_file
    begin = steps.START_OVER if _changes(since) else steps.start_bisect(file)
    session = _session(since)
    if session:
        return _bisect(session, file) or begin
    tests = screen.tests
    if tests is None:
        return steps.check_repair(file) if _changes(since) else _test(screen, task)
    return steps.FINISH if tests.passed else begin


def _test(screen: Screen, task: Task) -> Step:
    step = visible.test_again(screen, task)
    return steps.reproduce(screen.test_file) if step == steps.run_tests(screen.test_file) else step


def _changes(events: Sequence[Event]) -> bool:
    """Whether any event, apart from bisecting, may have changed something."""
    return any(not event.reads and "git bisect" not in event.command and not _fails(event) for event in events)


def _moves(event: Event) -> bool:
    """Whether it may have put the work tree or main on another commit, unasked."""
    return bool(_MOVES.search(event.command)) and not _fails(event)


def _fails(event: Event) -> bool:
    """Whether a single command refused to do anything."""
    return bool(_FAILED.search(event.output)) and not re.search(r"[;&|\n]", event.command)


def _session(events: Sequence[Event]) -> list[Event]:
    """The bisect under way: from its start on. Empty if there is none, or if it is over."""
    started = max((at for at, event in enumerate(events, 1) if "git bisect" in event.command), default=0)
    if not started or any(event.command == steps.REVERT for event in events[started:]):
        return []
    ended = re.search("bisect (reset|run)", events[started - 1].command)
    begun = [at for at, event in enumerate(events) if "git bisect start" in event.command]
    return [] if ended else list(events[begun[-1] if begun else started - 1 :])


def _bisect(session: Sequence[Event], file: str) -> Step | None:
    """The next step of a bisect, by the verdicts on the screen; None if it has to begin again."""
    result: bool | None = None
    for event in session:
        for verdict in _VERDICT.findall(event.command):
            if result is None or (verdict == "good") != result:
                return None
            result = None
        if _ASTRAY.search(event.output):
            return None
        if event.passed is not None:
            result = event.passed
        elif not event.reads and "git bisect" not in event.command and not _fails(event):
            return None
    if not session[0].command.startswith(steps.START):
        return None
    if any("is the first bad commit" in event.output for event in session):
        return steps.revert(file)
    if result is None:
        return steps.try_commit(file)
    return steps.good(file) if result else steps.bad(file)


def _put_back(screen: Screen, after: Sequence[Event], task: Task) -> Step:
    """What to do after a revert that conflicted: `after` are the events since, the check first."""
    tests, commands = screen.tests, [event.command for event in after]
    if steps.SHOW not in commands:
        if tests is None:
            return steps.check_repair(screen.test_file)
        return steps.FINISH if tests.passed else steps.SHOW_CULPRIT
    shown = after[commands.index(steps.SHOW) :]
    left = [
        fault for fault in faults_of(task.patch) if not any(visible.repairs(event, task) == fault for event in shown)
    ]
    if left:
        return _find(left[0], screen, task) or visible.work_on(left[0], screen, task)
    if tests is None:
        return steps.check_repair(screen.test_file)
    return steps.FINISH if tests.passed else steps.START_OVER


def _find(fault: Fault, screen: Screen, task: Task) -> Step | None:
    """Search the line that the culprit wrote, if it still stands and its number is not known."""
    wrong = fault.wrong[0] if fault.wrong else ""
    if not wrong or place(fault, screen, task) or f"+{wrong}" not in screen.text.splitlines():
        return None
    step = Step("Find that line.", f"grep -nF {quoted(wrong.strip())} {fault.path}")
    return None if screen.done(step.command) else step
