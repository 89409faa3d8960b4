"""A run: one directory with its recipe, `run.db`, checkpoints and report. Starting one, and going on with one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from rollin.errors import UserError
from rollin.evaluation.rate import Rate
from rollin.gateway import Gateway
from rollin.harnesses.mini_swe_agent import MiniSweAgent
from rollin.learner import Learner
from rollin.loop import Loop
from rollin.models import load_model, load_tokenizer
from rollin.policies.base import Policy, Sampling
from rollin.policies.endpoint import EndpointPolicy
from rollin.policies.expert import Expert
from rollin.policies.local import LocalPolicy
from rollin.policies.ragged import ATTENTION
from rollin.progress import Reporter
from rollin.recipe import EndpointTeacher, ExpertTeacher, Recipe, TeacherSettings, parse_recipe
from rollin.rollout import Rollouts
from rollin.store import Store
from rollin.tasks.cache import cache_folder
from rollin.tasks.schema import Split, Task
from rollin.tasks.sets import load_tasks

DATABASE = "run.db"


def start(recipe: Recipe, directory: Path, reporter: Reporter) -> None:
    """Run a recipe in a new directory. Raises UserError before anything is written where the input is bad."""
    train, evaluation = _load_tasks(recipe, reporter)
    with Store.create(directory / DATABASE, recipe.model_dump(mode="json")) as store:
        (directory / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
        store.add_tasks(task.model_copy(update={"split": Split.TRAIN}) for task in train)
        store.add_tasks(task.model_copy(update={"split": Split.EVAL}) for task in evaluation)
        with _loop(recipe, directory, store, reporter) as loop:
            loop.run()


def resume(directory: Path, reporter: Reporter) -> None:
    """Go on with a run that was stopped or killed; a finished one is left as it is. Raises UserError."""
    with Store.resume(database(directory)) as store:
        recipe = parse_recipe(dict(store.recipe()), f"the recipe in {directory / DATABASE}")
        with _loop(recipe, directory, store, reporter) as loop:
            loop.run()


def evaluate(recipe: Recipe, directory: Path, reporter: Reporter) -> Rate:
    """Measure the recipe's student on its eval tasks; nothing is trained. A stopped measurement is gone on with."""
    path = directory / DATABASE
    with Store.resume(path) if path.exists() else Store.create(path, recipe.model_dump(mode="json")) as store:
        _, tasks = _load_tasks(recipe, reporter)
        store.add_tasks(task.model_copy(update={"split": Split.EVAL}) for task in tasks)
        with _loop(recipe, directory, store, reporter) as loop:
            store.begin_iteration(0)
            return loop.evaluate(0)


def database(directory: Path) -> Path:
    """The run's `run.db`. UserError if the directory holds none."""
    path = directory / DATABASE
    if not path.is_file():
        raise UserError(f"{directory} is not a run: there is no {DATABASE} in it; check the path, or start one first")
    return path


def _load_tasks(recipe: Recipe, reporter: Reporter) -> tuple[list[Task], list[Task]]:
    with reporter.phase("building tasks", recipe.tasks.count) as bar:
        return load_tasks(recipe.tasks, cache_folder(), bar.advance)


@contextmanager
def _loop(recipe: Recipe, directory: Path, store: Store, reporter: Reporter) -> Iterator[Loop]:
    """Everything that a loop needs, started, and ended with it."""
    with ExitStack() as stack:
        gateway = stack.enter_context(Gateway(store))
        learner = Learner(recipe.student, directory / "checkpoints", recipe.concurrency)
        stack.callback(lambda: gateway.run(learner.policy.close()))
        teacher = stack.enter_context(_teacher(recipe.teacher, recipe.concurrency, gateway))
        rollouts = Rollouts(
            store,
            gateway,
            MiniSweAgent(recipe.harness),
            cache_dir=cache_folder() / "repositories",
            limits=recipe.sandbox,
            concurrency=recipe.concurrency,
            seed=recipe.seed,
        )
        sampling = Sampling() if isinstance(recipe.teacher, ExpertTeacher) else recipe.teacher.sampling
        tasks = store.tasks()
        yield Loop(
            recipe,
            store,
            rollouts,
            learner,
            teacher,
            sampling,
            [task for task in tasks if task.split is Split.TRAIN],
            [task for task in tasks if task.split is Split.EVAL],
            reporter,
        )


@contextmanager
def _teacher(settings: TeacherSettings, slots: int, gateway: Gateway) -> Iterator[Policy]:
    teacher = _make_teacher(settings, slots)
    try:
        yield teacher
    finally:
        gateway.run(teacher.close())


def _make_teacher(settings: TeacherSettings, slots: int) -> Policy:
    if isinstance(settings, ExpertTeacher):
        return Expert()
    if isinstance(settings, EndpointTeacher):
        return EndpointPolicy(settings.base_url, settings.model, api_key_env=settings.api_key_env)
    model, tokenizer = load_model(settings.model, ATTENTION), load_tokenizer(settings.model)
    return LocalPolicy(model, tokenizer, name="teacher", slots=slots, context_tokens=settings.context_tokens)
