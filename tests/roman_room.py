"""A small task for grading: `double` gives three times its argument.

finished   a task with the base commit that its files give
"""

from pathlib import Path

from rollin.tasks.repository import build_repository, pristine_files
from rollin.tasks.schema import Commit, Task

BUGGY = '"""Double."""\n\n\ndef double(number):\n    return number * 3\n\n\ndef zero():\n    return 0\n'
FIXED = BUGGY.replace("* 3", "* 2")
TESTS = (
    "from roman import double, zero\n\n\ndef test_double():\n    assert double(2) == 4\n\n\n"
    "def test_zero():\n    assert zero() == 0\n"
)


def finished(history: list[Commit], cache: Path, test_file: str = "test_roman.py") -> Task:
    """Made of the kata's files with this history on top."""
    task = Task(
        instance_id="double",
        repo="kata/roman",
        base_commit="",
        problem_statement="double(2) gives 6",
        patch="",
        FAIL_TO_PASS=[f"{test_file}::test_double"],
        PASS_TO_PASS=[f"{test_file}::test_zero"],
        pristine="kata:roman",
        test_files=[test_file],
        history=history,
    )
    return task.model_copy(update={"base_commit": build_repository(pristine_files(task), history, cache)[1]})
