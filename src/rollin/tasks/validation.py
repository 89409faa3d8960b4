"""Whether reference patches resolve their tasks, as agents' patches would be judged.

Tasks of one visit differ in what is broken and, once repaired, mostly in nothing: the tests run once for all of them.
"""

from pathlib import Path

from rollin.errors import InfrastructureFault
from rollin.sandboxes.base import as_bytes
from rollin.sandboxes.workspace import open_workspace
from rollin.tasks.git import git
from rollin.tasks.grading import GRADING, grade, grade_in
from rollin.tasks.repository import materialise, new_repository
from rollin.tasks.schema import Task


class Validation:
    """Remembers what tests say of repaired repositories."""

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir
        self._statuses: dict[str, dict[str, str]] = {}
        """By the id of the repaired files' tree."""

    def resolves(self, task: Task) -> bool:
        """Whether its patch applies, and makes all tests of FAIL_TO_PASS and PASS_TO_PASS pass. Nobody has forged a
        reference patch, but a package whose tests run when they are imported has its control accuse any patch."""
        tree = self._repaired(task)
        if tree is None:
            return False
        if tree not in self._statuses:
            if task.source == "package":
                self._statuses[tree] = grade(task, task.patch, self._cache_dir).tests
            else:
                with open_workspace(task, self._cache_dir, GRADING) as sandbox:
                    self._statuses[tree] = grade_in(sandbox, task, task.patch).tests
        return all(self._statuses[tree].get(test) == "PASSED" for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS))

    def _repaired(self, task: Task) -> str | None:
        """The id of the tree that the patch leads to; None where it doesn't apply. It is made in another repository,
        which is gone afterwards: beside the task's an agent would find the repair."""
        objects = materialise(task, self._cache_dir) / "objects"
        with new_repository(self._cache_dir) as scratch:
            (scratch / "objects" / "info" / "alternates").write_text(f"{objects.absolute()}\n")
            git(scratch, "read-tree", task.base_commit)
            try:
                git(scratch, "apply", "--cached", "--whitespace=nowarn", stdin=as_bytes(task.patch))
            except InfrastructureFault:
                return None
            return git(scratch, "write-tree").decode().strip()
