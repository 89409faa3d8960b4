"""How hard tasks are: what the scripted expert needs for them when it acts alone."""

from collections.abc import Sequence
from pathlib import Path

from rollin.evaluation.rate import Rate
from rollin.gateway import Gateway
from rollin.harnesses.mini_swe_agent import MiniSweAgent, MiniSweAgentSettings
from rollin.mixture import Actor, Teacher
from rollin.policies.expert import Expert
from rollin.progress import Reporter
from rollin.rollout import Attempt, Cast, Rollouts
from rollin.sandboxes.base import Limits
from rollin.store import DATABASE, Exit, Purpose, Store, TrajectoryRow
from rollin.tasks.cache import cache_folder
from rollin.tasks.schema import Task

MOST_TURNS = 40


def measured(
    tasks: Sequence[Task], directory: Path, reporter: Reporter, concurrency: int = 8
) -> tuple[dict[str, int | None], Rate]:
    """Instance id -> `expert_turns`, and how many tasks the expert resolved.

    None for a task that the expert did not resolve; for one whose trajectory the infrastructure ended, what it had.
    The trajectories are a run in `directory`; one that was stopped is gone on with.
    """
    path = directory / DATABASE
    directory.mkdir(parents=True, exist_ok=True)
    with Store.resume(path) if path.exists() else Store.create(path, {"name": "measure"}) as store:
        store.add_tasks(tasks)
        rows = {row.instance_id: row for row in expert_alone(tasks, store, reporter, concurrency)}
        turns = {name: len(store.turns(row.id)) if row.resolved else None for name, row in rows.items()}
    faults = {name for name, row in rows.items() if row.exit is Exit.INFRASTRUCTURE_FAULT}
    before = {task.instance_id: task.expert_turns for task in tasks if task.instance_id in faults}
    return turns | before, Rate.of(rows.values())


def expert_alone(tasks: Sequence[Task], store: Store, reporter: Reporter, concurrency: int) -> list[TrajectoryRow]:
    """A trajectory of the expert for each task, as in any run: a sandbox, mini-swe-agent, the gateway, a grade."""
    with Gateway(store) as gateway, reporter.phase("the expert alone", len(tasks)) as bar:
        rollouts = Rollouts(
            store,
            gateway,
            MiniSweAgent(MiniSweAgentSettings(max_turns=MOST_TURNS)),
            cache_dir=cache_folder() / "repositories",
            limits=Limits(),
            concurrency=concurrency,
            seed=0,
        )
        store.begin_iteration(0)
        cast = Cast("teacher", Teacher(), {Actor.TEACHER: Expert()})
        attempts = [Attempt(task, 0, Purpose.EVAL) for task in tasks]
        return rollouts.run(attempts, cast, lambda row: bar.advance())
