"""Parts for the expert's tests and benchmark: a way to play a task without a model server, and a vandal.

files_of   a kata's files
make_task, broken_task, regression_task   tasks of a kata
Play       what a trajectory came to: its messages, and whether it was submitted and resolved
Vandal     acts like an untrained student on a bad day: garbage, wrong edits, lost commits, half-done reverts
"""

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rollin.harnesses.mini_swe_agent import ENV, FORMAT_ERROR, INSTANCE, SYSTEM
from rollin.harnesses.observation import observation
from rollin.messages import Message
from rollin.policies.base import Action, Policy, Request, Sampling
from rollin.policies.expert.calls import command_of
from rollin.policies.expert.steps import SUBMIT
from rollin.sandboxes.base import Sandbox
from rollin.sandboxes.workspace import open_workspace
from rollin.tasks.faults.base import Fault, apart, apply, diff
from rollin.tasks.faults.semantic import SEMANTIC
from rollin.tasks.faults.visible import VISIBLE
from rollin.tasks.grading import extract_patch, grade
from rollin.tasks.repository import build_repository
from rollin.tasks.schema import Commit, Family, Task

OBSERVATION_CHARS = 2000
KATAS = Path(__file__).parents[1] / "src" / "rollin" / "tasks" / "katas"


def files_of(kata: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in (KATAS / kata).iterdir() if path.is_file()}


def make_task(kata: str, family: Family, history: Sequence[Commit], fixed: dict[str, str], cache: Path) -> Task:
    """A task of a kata whose reference patch leads from the end of the history to the `fixed` files."""
    pristine = {name: text.encode() for name, text in files_of(kata).items()}
    _, head = build_repository(pristine, history, cache)
    state = files_of(kata)
    for commit in history:
        state |= {path: text for path, text in commit.files.items() if text is not None}
    tests = re.findall(r"^def (test_\w+)", fixed[f"test_{kata}.py"], re.MULTILINE)
    return Task(
        instance_id=f"{kata}-{head[:8]}",
        repo=f"kata/{kata}",
        base_commit=head,
        problem_statement=f"Something in {kata} is broken.",
        patch=diff(state, fixed),
        FAIL_TO_PASS=[f"test_{kata}.py::{name}" for name in tests],
        PASS_TO_PASS=[],
        family=family,
        test_files=[f"test_{kata}.py"],
        pristine=f"kata:{kata}",
        history=list(history),
    )


def broken_task(kata: str, family: Family, kinds: Sequence[str], cache: Path) -> Task:
    """A task with a fault of each kind, all in one commit."""
    files, rng, faults = files_of(kata), random.Random(kata), list[Fault]()
    for kind in kinds:
        found = {**VISIBLE, **SEMANTIC}[kind](files, f"{kata}.py", rng)
        faults.append(rng.choice([fault for fault in found if apart(files, fault, faults)]))
    broken = {path: text for path, text in apply(files, faults).items() if text != files[path]}
    return make_task(kata, family, [Commit(subject="Initial version", files=dict(broken))], files, cache)


def regression_task(cache: Path, *, conflict: bool) -> Task:
    """Seven commits on `invoice`, the third of which breaks it; later ones may touch the line beside."""
    good = files_of("invoice")["invoice.py"]
    bad = good.replace("amount * rate / 100", "amount + rate / 100")
    texts = [good, good + "\nYEAR = 2024\n"]
    texts.append(bad + "\nYEAR = 2024\n")
    if conflict:
        texts.append(texts[-1].replace("    return math.floor", "    # half up\n    return math.floor"))
    while len(texts) < 7:
        texts.append(texts[-1] + f"VERSION_{len(texts)} = 1\n")
    subjects = ["Initial version", "Add the year", "Simplify _tax_on", *(f"Change {n}" for n in range(3, 7))]
    history = [Commit(subject=s, files={"invoice.py": t}) for s, t in zip(subjects, texts, strict=True)]
    fixed = {**files_of("invoice"), "invoice.py": texts[-1].replace("amount + rate", "amount * rate")}
    return make_task("invoice", Family.REGRESSION, history, fixed, cache)


@dataclass(frozen=True)
class Play:
    """What a trajectory came to."""

    messages: list[Message]
    turns: int
    submitted: bool
    resolved: bool


def play(
    task: Task, policy: Policy, cache: Path, *, first: Policy | None = None, first_turns: int = 0, max_turns: int = 25
) -> Play:
    """Play a task as the harness would; `first` takes the first turns (and cannot submit), `policy` the others."""
    messages = opening(task)
    with open_workspace(task, cache, env=ENV) as sandbox:
        for turn in range(max_turns):
            acting = first if first is not None and turn < first_turns else policy
            request = Request(messages=messages, trajectory="play", turn=turn, seed=turn, task=task, sampling=SAMPLING)
            content = asyncio.run(acting.act(request)).content
            command = command_of(content)
            messages = [*messages, Message(role="assistant", content=content)]
            if SUBMIT in command and acting is policy:
                resolved = grade(task, extract_patch(sandbox), cache).resolved
                return Play(messages, turn + 1, True, resolved)
            messages.append(Message(role="user", content=observed(sandbox, command)))
    return Play(messages, max_turns, False, False)


SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=96)


def opening(task: Task) -> list[Message]:
    """The state before the first turn."""
    instance = INSTANCE.replace("{{task}}", task.problem_statement)
    return [Message(role="system", content=SYSTEM["text"]), Message(role="user", content=instance)]


def observed(sandbox: Sandbox, command: str) -> str:
    """What the harness says after a command, or where there was none."""
    if not command:
        return FORMAT_ERROR["text"]
    result = sandbox.run(command)
    status = "(timed out)" if result.timed_out else f"(exit {result.returncode})"
    text = observation(result.output, OBSERVATION_CHARS) or "(no output)"
    return f"{text}\n{status}" if result.returncode else text


WORKS = (
    "sed -i '{n}s/{word}/{other}/' {path}",
    "sed -i 's/{word}/{other}/g' {path}",
    "sed -i '{n}d' {path}",
    "sed -i '{n}i import os' {path}",
    "sed -i '{n}s/$/)/' {path}",
    "sed -i '{n}s/^ */  /' {path}",
    "sed -i 's/==/!=/' {test}",
    "sed -i '{n}d' {test}",
    "echo 'print({word})' >> {path}",
    "echo 'import {word}' > {path}",
    "printf 'def {word}():\\n    pass\\n' > {path}",
    "rm {path}",
    "rm {test}",
    "rm -rf *",
    "mv {path} old_{path}",
    "touch conftest.py && echo 'raise ValueError' > conftest.py",
    "python {path} > {test}",
    "cat > {path} << 'EOF'\n{word} = {n}\nEOF",
)
HISTORY = (
    "git checkout HEAD~1",
    "git checkout HEAD~3",
    "git checkout -b fix",
    "git reset --hard HEAD~1",
    "git reset --hard HEAD~3",
    "git reset HEAD~2",
    "git stash",
    "git commit -am 'Fix the bug'",
    "git add -A && git commit -m 'Work in progress'",
    "git revert --no-edit HEAD",
    "git revert --no-edit HEAD~2",
    "git revert HEAD~1 --no-commit",
    "git rm -q {path}",
    "git mv {path} moved_{path}",
    "git merge fix",
    "git rebase -i HEAD~2",
    "git bisect start",
    "git bisect start HEAD HEAD~2",
    "git bisect good",
    "git bisect bad",
    "git bisect start main $(git rev-list --max-parents=0 main) | head -n 1; python -m pytest | tail -n 1",
    "git bisect bad | head -n 1; python -m pytest | tail -n 1",
    "git checkout -q main && git revert --no-edit bisect/bad 2>&1 | head -n 2",
    "git branch -D main",
    "git clean -fdx",
    "git checkout {path}",
    "git init",
)
HARMLESS = (
    "",
    "ls -la",
    "cat {path}",
    "cat missing.py",
    "cat README.rst | head",
    "pip install {word}",
    "python {path}",
    "cd src && ls",
    "git log",
    "git status",
    "git diff",
    "pytest",
    "python -m pytest {test} -k {word}",
    "python -m pytest --lf tests/unit",
    "grep -rn {word} .",
    "sed -n '1,{n}p' {path}",
    "vim {path}",
    "nosuchcommand --fix",
    "echo done",
    "```",
    "for f in *.py; do wc -l $f; done",
    "python - << 'EOF'\nprint('hello')\nEOF",
)


class Vandal:
    """Draws from lists of garbage, seeded by the task and the turn."""

    name = "vandal"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    async def act(self, request: Request) -> Action:
        assert request.task is not None
        rng = random.Random(f"{self.seed} {request.task.instance_id} {request.turn}")
        kind = rng.choices((WORKS, HISTORY, HARMLESS), weights=(4, 4, 3))[0]
        command = rng.choice(kind).format(**_fillings(request.task, rng))
        if not command:
            return Action("I think the problem is in the loop. We should look at it carefully and then fix it.")
        return Action(f"Let me try this.\n```bash\n{command}\n```")

    def forget(self, trajectory: str) -> None:
        pass

    async def close(self) -> None:
        pass


def _fillings(task: Task, rng: random.Random) -> dict[str, str]:
    """What the placeholders stand for: names that an onlooker of the task might type."""
    paths = re.findall(r"^--- a/(\S+)", task.patch, re.MULTILINE)
    words = [*re.findall(r"[a-z_]{3,}", task.patch), "foo", "result"]
    word, other = rng.choice(words), rng.choice(words)
    test = rng.choice(task.test_files or ["tests.py"])
    return {"path": rng.choice(paths), "test": test, "word": word, "other": other, "n": str(rng.randint(1, 40))}
