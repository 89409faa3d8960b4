"""How many tasks a recipe's sets hold, without building or fetching any."""

from rollin.recipe import Recipe
from rollin.tasks.schema import read_tasks
from rollin.tasks.sets import BuiltTasks, FiledTasks, GymTasks, TaskSet

PUBLISHED = {
    "SWE-Gym/SWE-Gym": 2438,  # arXiv 2412.21139
    "SWE-bench/SWE-bench_Verified": 500,
    "princeton-nlp/SWE-bench_Verified": 500,
}
"""Tasks of a data set, before anything is filtered out."""


def count(tasks: TaskSet) -> int:
    """How many tasks there are in a set. UserError for a file that can't be read."""
    if tasks.count is not None:
        return tasks.count
    if isinstance(tasks, FiledTasks):
        return len(read_tasks(tasks.file))
    assert not isinstance(tasks, BuiltTasks | GymTasks)  # whose number is always said
    whole = PUBLISHED.get(getattr(tasks, "dataset", ""), 0)
    held_out = getattr(tasks, "held_out", None) or 0
    return {"train": max(0, whole - held_out), "held_out": held_out}.get(str(getattr(tasks, "part", None)), whole)


def pictured(recipe: Recipe) -> int:
    """Tasks with a container image each: those that are not rollin's own, as far as they are attempted."""
    train = sum(count(each) for each in recipe.tasks.train if not isinstance(each, BuiltTasks | GymTasks))
    attempted = sum(map(recipe.tasks_in, range(1, recipe.iterations + 1)))
    evaluated = sum(count(each) for each in recipe.tasks.eval if not isinstance(each, BuiltTasks | GymTasks))
    return min(train, attempted) + evaluated
