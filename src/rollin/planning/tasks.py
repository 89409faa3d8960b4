"""How many tasks a recipe's sets hold, without building or fetching any."""

from rollin.recipe import Recipe
from rollin.tasks.published.reading import read
from rollin.tasks.schema import Task
from rollin.tasks.sets import FiledTasks, PublishedTasks, TaskSet

PUBLISHED = {
    "SWE-Gym/SWE-Gym": 2438,  # arXiv 2412.21139
    "SWE-bench/SWE-bench_Verified": 500,
    "princeton-nlp/SWE-bench_Verified": 500,
}
"""Tasks of a data set, before anything is filtered out."""


def count(tasks: TaskSet) -> int:
    """How many tasks there are in a set, at most; 0 where nobody knows. UserError for a file that can't be read."""
    if tasks.count is not None:
        return tasks.count
    if isinstance(tasks, FiledTasks):
        return len(_filed(tasks))
    assert isinstance(tasks, PublishedTasks)  # the number of others is always said
    whole, held_out = PUBLISHED.get(tasks.dataset, 0), tasks.held_out or 0
    part = held_out if tasks.part == "held_out" else max(0, whole - held_out)
    return min(part, len(tasks.ids)) if tasks.ids else part


def pictured(recipe: Recipe) -> int:
    """Tasks with a container image each, as far as they are attempted."""
    attempted = sum(map(recipe.tasks_in, range(1, recipe.iterations + 1)))
    return min(sum(map(_pictured, recipe.tasks.train)), attempted) + sum(map(_pictured, recipe.tasks.eval))


def _pictured(tasks: TaskSet) -> int:
    if isinstance(tasks, FiledTasks):
        return sum(task.in_container for task in _filed(tasks))
    return count(tasks) if isinstance(tasks, PublishedTasks) else 0


def _filed(tasks: FiledTasks) -> list[Task]:
    return tasks.of(read(tasks.source), tasks.source.name).tasks
