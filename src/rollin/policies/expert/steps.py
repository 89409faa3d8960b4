"""The expert's few phrases: each situation has one thought and one command, always the same."""

from dataclasses import dataclass

TEST = "python -m pytest -xqrN --tb=short | tail -n 12"
"""Shows the frames of the first failure and the verdict, in about a hundred tokens."""
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
DIFF = "git diff main -U0 | head -n 40"
"""All changes of the work tree: staged or not, and on whichever commit it stands."""
CLEAN = "git checkout -qf main && git clean -fdq"


@dataclass(frozen=True)
class Step:
    """One action: a thought of a few words, and the command."""

    thought: str
    command: str

    def __str__(self) -> str:
        return f"{self.thought}\n```bash\n{self.command}\n```"


RUN_TESTS = Step("Run the tests.", TEST)
CHECK_REPAIR = Step("Check the repair.", TEST)
FINISH = Step("All tests pass. Submit.", SUBMIT)
SEE_CHANGES = Step("See what was changed.", DIFF)
START_OVER = Step("Throw all changes away.", CLEAN)


def undo(paths: list[str]) -> Step:
    return Step("That change was wrong. Undo it.", f"git checkout -q main {' '.join(paths)}")
