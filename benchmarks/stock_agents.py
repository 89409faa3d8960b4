"""A stock agent's own entry point, in the sandbox, through the gateway, against a model at a real local server.

python benchmarks/stock_agents.py RECIPE CHECKPOINT [--server vllm] [--limit 10] [KEY=VALUE ...]

The recipe says which agent (a harness of kind `command`) and which held-out tasks; the checkpoint is a student that was
trained to act under it. Nobody but the served model acts.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from endpoint_room import VLLM, transformers_serve, vllm_serve
from rich.console import Console

from rollin.evaluation.rate import Rate
from rollin.gateway import Gateway
from rollin.harnesses.command import CommandHarness, CommandSettings
from rollin.mixture import Actor, Student
from rollin.policies.endpoint import EndpointPolicy
from rollin.progress import ConsoleReporter
from rollin.recipe import load_recipe
from rollin.rollout import Attempt, Cast, Rollouts
from rollin.store import Purpose, Store
from rollin.tasks.cache import cache_folder
from rollin.tasks.sets import load_tasks

SERVERS = {"transformers": transformers_serve, "vllm": vllm_serve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    parser.add_argument("--limit", type=int, default=10, help="held-out tasks of each set")
    parser.add_argument("--server", choices=SERVERS, default="transformers")
    options = parser.parse_intermixed_args()
    recipe, reporter = load_recipe(options.recipe, options.changes), ConsoleReporter(Console(stderr=True))
    if not isinstance(recipe.harness, CommandSettings):
        parser.error(
            f"{options.recipe} has a harness of kind {recipe.harness.kind}; name a recipe with one of kind command"
        )
    if not (options.checkpoint / "config.json").exists():
        parser.error(f"there is no checkpoint in {options.checkpoint}; check the path")
    if options.server == "vllm" and not VLLM.exists():
        parser.error("there is no vLLM; `make vllm` installs one, or VLLM_PYTHON names the Python that has it")
    checkpoint = options.checkpoint.resolve()
    serve, model = SERVERS[options.server], "student" if options.server == "vllm" else str(checkpoint)
    few = [each.model_copy(update={"count": options.limit}) for each in recipe.tasks.eval]
    settings = recipe.tasks.model_copy(update={"train": [], "eval": few})
    _, tasks = load_tasks(settings, cache_folder(), lambda done: None, print)
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(checkpoint) as url,
        Store.create(Path(folder) / "run.db", {}) as store,
        Gateway(store, door=True) as gateway,
        reporter.phase("the agent", len(tasks)) as bar,
    ):
        store.add_tasks(tasks)
        policy = EndpointPolicy(url, model)
        rollouts = Rollouts(
            store,
            gateway,
            CommandHarness(recipe.harness),
            cache_dir=cache_folder() / "repositories",
            limits=recipe.sandbox,
            concurrency=2,
            seed=0,
        )
        sampling = recipe.student.sampling.model_copy(update={"temperature": 0.0})
        cast = Cast("student", Student(), {Actor.STUDENT: policy}, sampling={Actor.STUDENT: sampling})
        rows = rollouts.run([Attempt(task, 1, Purpose.EVAL) for task in tasks], cast, lambda row: bar.advance())
        gateway.run(policy.close())
        turns = sum(len(store.turns(row.id)) for row in rows)
    for row in rows:
        print(row.instance_id, row.exit.value if row.exit else "", "resolved" if row.resolved else "not resolved")
    print(f"{recipe.name}: resolved {Rate.of(rows)}, {turns} turns, all of {checkpoint.name} by {options.server}")


if __name__ == "__main__":
    main()
