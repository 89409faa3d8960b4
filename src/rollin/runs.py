"""A run: one directory with its recipe, `run.db`, checkpoints and report. Starting one, and going on with one."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from rollin.chat import action_ids
from rollin.errors import UserError
from rollin.evaluation.rate import Rate
from rollin.files import write_text
from rollin.gateway import Gateway
from rollin.harnesses.base import Harness
from rollin.harnesses.command import CommandHarness, CommandSettings
from rollin.harnesses.gym import GymHarness, GymSettings
from rollin.harnesses.mini_swe_agent import MiniSweAgent
from rollin.harnesses.own import OwnSettings, own_harness
from rollin.learner import Learner
from rollin.loop import Loop
from rollin.method import METHODS, Aggregate
from rollin.models import check_tokens, load_model, load_tokenizer
from rollin.plugins import load, make
from rollin.policies.base import Policy, Sampling
from rollin.policies.engines import Engines, engines
from rollin.policies.expert import Expert
from rollin.policies.function import FunctionPolicy
from rollin.policies.local import LocalPolicy
from rollin.policies.pool import endpoint
from rollin.policies.ragged import ATTENTION
from rollin.progress import Reporter
from rollin.recipe import (
    EndpointTeacher,
    ExpertTeacher,
    FunctionTeacher,
    HarnessSettings,
    LocalTeacher,
    OwnTeacher,
    Recipe,
    moved,
    parse_recipe,
    placeless,
)
from rollin.rollout import Rollouts
from rollin.sandboxes.bubblewrap import check
from rollin.store import DATABASE, Purpose, Store, database_of
from rollin.tasks.cache import cache_folder
from rollin.tasks.overlap import check_apart
from rollin.tasks.schema import Split, Task
from rollin.tasks.sets import TaskSettings, load_tasks
from rollin.training.objectives import Need
from rollin.training.samples import training_samples
from rollin.training.settings import TrainingSettings
from rollin.training.trainer import check_layers
from rollin.training.trie import Sample
from rollin.trajectories import Trajectories


def start(recipe: Recipe, directory: Path, reporter: Reporter) -> None:
    """Run a recipe in a new directory. Raises UserError before anything is written where the input is bad."""
    with _place(directory):
        cast = _cast(recipe, directory)  # first: what is missing is said before the tasks are built
        train, evaluation = _load_tasks(recipe.tasks, reporter)
        _check_demonstrations(recipe, evaluation)
    tasks = [*_of(Split.TRAIN, train), *_of(Split.EVAL, evaluation)]
    with Store.create(directory / DATABASE, recipe.model_dump(mode="json"), tasks) as store:
        _write(recipe, directory)
        with _loop(recipe, store, *cast, reporter) as loop:
            loop.run()


def resume(directory: Path, reporter: Reporter, changes: Sequence[str] = ()) -> None:
    """Go on with a run that was stopped or killed; a finished one is left as it is. `changes` (key=value) say where
    servers are by now. Raises UserError."""
    with Store.resume(database_of(directory)) as store:
        if "iterations" not in store.recipe():
            made = "`rollin serve` or `rollin tasks measure`"
            raise UserError(
                f"{directory} is no run of a recipe, but made by {made}: repeat that command to go on with it"
            )
        recipe = moved(parse_recipe(dict(store.recipe()), f"the recipe in {directory / DATABASE}"), changes)
        if all(task.split is Split.EVAL for task in store.tasks()):
            raise UserError(
                f"{directory} is a measurement; to go on with it, repeat `rollin eval` with --out {directory}"
            )
        cast = _cast(recipe, directory)
        if changes:
            store.move(recipe.model_dump(mode="json"))
            _write(recipe, directory)
        with _loop(recipe, store, *cast, reporter) as loop:
            loop.run()


def _write(recipe: Recipe, directory: Path) -> None:
    """For people; the store has its own."""
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    write_text(directory / "recipe.yaml", text, "the recipe")


def evaluate(recipe: Recipe, directory: Path, reporter: Reporter) -> Rate:
    """Measure the recipe's student on its eval tasks; nothing is trained. A stopped measurement is gone on with. Raises
    UserError where the directory holds another one, or a run."""
    path, alone = directory / DATABASE, _alone(recipe)
    with _room(directory):
        if path.exists():
            _check_measures(directory, recipe)
        cast = _cast(alone, directory)
        if not path.exists():
            _, tasks = _load_tasks(recipe.tasks.to_measure(), reporter)
            Store.create(path, recipe.model_dump(mode="json"), _of(Split.EVAL, tasks)).close()
    with Store.resume(path) as store, _loop(alone, store, *cast, reporter) as loop:
        store.begin_iteration(0)
        return loop.evaluate(0, loop.eval_tasks)


def _alone(recipe: Recipe) -> Recipe:
    """What of a recipe it takes to measure its student: no demonstrations, a teacher only where labels are wanted.
    (The expert that stands in for the teacher is not asked.)"""
    teacher = recipe.teacher if recipe.evaluation.labels else ExpertTeacher()
    untrained = {"demonstrations": None, "method": METHODS["dagger"], "training": TrainingSettings()}
    return recipe.model_copy(update={"teacher": teacher} | untrained)


MEASURED = {"student", "tasks", "harness", "sandbox", "seed", "evaluation"}
"""Settings that decide what a measurement finds."""


def _check_measures(directory: Path, recipe: Recipe) -> None:
    """UserError unless what is in the directory is a measurement by the same settings."""
    with Store.read(directory / DATABASE) as store:
        begun = parse_recipe(dict(store.recipe()), f"the recipe in {directory / DATABASE}")
        trained = any(task.split is Split.TRAIN for task in store.tasks())
    if trained or placeless(begun, MEASURED) != placeless(recipe, MEASURED):
        held = "a run" if trained else "a measurement of another student, or by other settings"
        raise UserError(f"{directory} holds {held}; choose another directory with --out")


def _of(split: Split, tasks: Iterable[Task]) -> Iterator[Task]:
    return (task.model_copy(update={"split": split}) for task in tasks)


@contextmanager
def _place(directory: Path) -> Iterator[None]:
    """A place for a new run. UserError where there is one already."""
    with _room(directory):
        if (directory / DATABASE).exists():
            raise UserError(f"{directory} holds a run already: resume it, or choose another directory with --out")
        yield


@contextmanager
def _room(directory: Path) -> Iterator[None]:
    """A directory, made first: minutes of building tasks should not end in an unwritable one. Where it doesn't come to
    a run, nothing is left."""
    ours = _made(directory)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # where it holds something by now
            if ours:
                directory.rmdir()
        raise


def _made(directory: Path) -> bool:
    """Make sure that it is there and can be written; whether it had to be made. UserError."""
    try:
        ours = not directory.exists()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".writable").touch()
        (directory / ".writable").unlink()
    except OSError as error:
        raise UserError(f"cannot write to the run directory {directory}: {error.strerror}; choose another") from error
    return ours


def _load_tasks(settings: TaskSettings, reporter: Reporter) -> tuple[list[Task], list[Task]]:
    with reporter.phase("building tasks", settings.count) as bar:
        return load_tasks(settings, cache_folder(), bar.advance, reporter.say)


def _cast(recipe: Recipe, directory: Path) -> tuple[Learner, Policy, Harness]:
    """The student and the teacher, ready to act, and the agent around them. UserError for what can't be had."""
    harness = _harness(recipe.harness)
    if harness.sandboxed:
        check()
    teacher = _teacher(recipe)
    white_box = teacher.model if isinstance(teacher, LocalPolicy) else None
    if recipe.demonstrations:
        database_of(recipe.demonstrations)
    learner = Learner(recipe.student, directory / "checkpoints", recipe.concurrency, white_box)
    check_layers(learner.policy.model, recipe.training)
    if Need.TEACHER in recipe.method.objective.needs:
        if isinstance(recipe.teacher, LocalTeacher):
            check_tokens(recipe.teacher.model, recipe.student.model)
        if scorer := _scorer(recipe):
            scorer.check_tokens(learner.tokenizer)
    return learner, teacher, harness


def _teacher(recipe: Recipe) -> Policy:
    settings = recipe.teacher
    if isinstance(settings, ExpertTeacher):
        tokenizer = load_tokenizer(recipe.student.model)
        return Expert(lambda content, calls: len(action_ids(tokenizer, content, calls)))
    if isinstance(settings, FunctionTeacher):
        tokenizer = load_tokenizer(recipe.student.model)
        return FunctionPolicy(load(settings.function), settings.function, lambda said: len(action_ids(tokenizer, said)))
    if isinstance(settings, OwnTeacher):
        own: Policy = make(settings.make, settings.settings, ("name", "act", "forget", "close"))
        return own
    if isinstance(settings, EndpointTeacher):
        s = settings
        limit = s.requests_per_minute
        return endpoint(s.base_url, s.model, api_key_env=s.api_key_env, requests_per_minute=limit, extra=s.extra)
    model, tokenizer = load_model(settings.model, ATTENTION), load_tokenizer(settings.model)
    return LocalPolicy(
        model,
        tokenizer,
        name="teacher",
        slots=recipe.concurrency,
        context_tokens=settings.context_tokens,
        precision=settings.precision,
    )


def _demonstrations(recipe: Recipe, learner: Learner) -> list[list[Sample]]:
    """The trajectories that another run collected, as the method learns from them, however old they are there."""
    if recipe.demonstrations is None or recipe.method.aggregate.iterations is not None:
        return []
    with Store.read(database_of(recipe.demonstrations)) as store:
        iterations = [row.number for row in store.iterations()]
        method = recipe.method.model_copy(update={"aggregate": Aggregate()})
        return training_samples(store, iterations, learner.tokenizer, method)


def _check_demonstrations(recipe: Recipe, eval_tasks: Sequence[Task]) -> None:
    """UserError where something that is evaluated on was demonstrated. What `rollin serve` records is of no split."""
    if recipe.demonstrations:
        with Store.read(database_of(recipe.demonstrations)) as store:
            collected = {row.instance_id for row in store.trajectories(purpose=Purpose.COLLECT)}
            shown = [task for task in store.tasks() if task.instance_id in collected]
        check_apart(shown, eval_tasks, recipe.tasks.allow_overlap, "the demonstrations and eval")


def _scorer(recipe: Recipe) -> Engines | None:
    """Who says how likely the teacher finds tokens, where it is at a server and the objective wants to know."""
    s = recipe.teacher
    if Need.TEACHER not in recipe.method.objective.needs or not isinstance(s, EndpointTeacher) or s.engine is None:
        return None
    return engines(s.engine, s.base_url, s.model, s.api_key_env)


def _harness(settings: HarnessSettings) -> Harness:
    """UserError where something of it is not there. Making mini-swe-agent takes seconds."""
    if isinstance(settings, CommandSettings):
        return CommandHarness(settings)
    if isinstance(settings, OwnSettings):
        return own_harness(settings)
    return GymHarness(settings) if isinstance(settings, GymSettings) else MiniSweAgent(settings)


@contextmanager
def _loop(
    recipe: Recipe, store: Store, learner: Learner, teacher: Policy, harness: Harness, reporter: Reporter
) -> Iterator[Loop]:
    """Everything that a loop needs, started, and ended with it."""
    with Gateway(store, door=harness.inside) as gateway:
        rollouts = Rollouts(
            store,
            gateway,
            harness,
            cache_dir=cache_folder() / "repositories",
            limits=recipe.sandbox,
            concurrency=recipe.concurrency,
            seed=recipe.seed,
        )
        teaching = recipe.teacher
        sampling = teaching.sampling if isinstance(teaching, EndpointTeacher | LocalTeacher) else Sampling()
        tasks = store.tasks()
        train_tasks, eval_tasks = (
            [task for task in tasks if task.split is split] for split in (Split.TRAIN, Split.EVAL)
        )
        try:
            trajectories = Trajectories(recipe, store, rollouts, learner, teacher, sampling, reporter)
            shown = _demonstrations(recipe, learner)
            yield Loop(recipe, store, trajectories, learner, train_tasks, eval_tasks, reporter, shown, _scorer(recipe))
        finally:
            for actor in (learner, teacher):
                gateway.run(actor.close())
