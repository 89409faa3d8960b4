"""`rollin plan`: every part of a recipe, checked without loading a model or starting anything."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import torch

from rollin.errors import UserError
from rollin.harnesses.mini_swe_agent import MiniSweAgentSettings
from rollin.planning.assumptions import Assumptions
from rollin.planning.describing import Described, describe
from rollin.planning.disk import Disk
from rollin.planning.findings import Figure, Finding, Plan, Unit, Verdict
from rollin.planning.machine import Machine
from rollin.planning.memory import Memory
from rollin.planning.talking import CALL, check_talk
from rollin.planning.tasks import count, pictured
from rollin.planning.work import Work
from rollin.recipe import EndpointTeacher, LocalTeacher, Recipe
from rollin.store import DATABASE, Purpose, Store

ASKED_SECONDS = 10.0


@dataclass(frozen=True)
class Shapes:
    """The models of a recipe, without their weights."""

    student: Described
    teacher: Described | None
    """None where it is no model, or one of which only the name is known."""

    @classmethod
    def of(cls, recipe: Recipe, student: Path | None = None, teacher: Path | None = None) -> "Shapes":
        """`student` and `teacher` are config.json files to take instead of looking for them. Raises UserError."""
        return cls(describe(recipe.student.model, student), _teacher(recipe, teacher))


def _teacher(recipe: Recipe, given: Path | None) -> Described | None:
    settings = recipe.teacher
    if isinstance(settings, LocalTeacher):
        return describe(settings.model, given)
    if not isinstance(settings, EndpointTeacher) or (settings.engine is None and given is None):
        return None  # an API somewhere: its memory is not ours
    try:
        return describe(settings.model, given)
    except UserError:
        if given:
            raise
        return None


def plan(recipe: Recipe, shapes: Shapes, machine: Machine, assumed: Assumptions, *, ask: bool = False) -> Plan:
    """What the recipe takes on this machine, and whether that is there. `ask` asks endpoints whether they answer.
    Raises UserError for what can't be worked out."""
    memory = Memory(recipe, shapes.student, shapes.teacher, machine, assumed)
    held = memory.figures()
    trainable = memory.trainable
    groups, shown = tuple(map(count, recipe.tasks.eval)), _shown(recipe)
    work = Work(recipe, shapes.student.size, trainable, groups, machine, assumed, shown or 0)
    saved = shapes.student.size.parameters * torch.float32.itemsize
    disk = Disk(recipe, saved, pictured(recipe), work, machine, assumed)
    files = disk.figures()
    findings = [
        *_models(shapes, recipe),
        check_talk(recipe.student.model, [CALL] if _calls(recipe) else []),
        *_counted(recipe),
        *([_no_demonstrations(recipe)] if shown is None else []),
        *_lengths(recipe, shapes),
        *memory.findings(held),
        disk.finding(files),
        *(_endpoints(recipe) if ask else []),
    ]
    figures = [*_parameters(shapes, trainable), *held, *files, *work.figures()]
    return Plan(recipe.name, findings, figures)


def _calls(recipe: Recipe) -> bool:
    harness = recipe.harness
    return harness.kind == "command" or (isinstance(harness, MiniSweAgentSettings) and harness.actions == "tool_calls")


def _models(shapes: Shapes, recipe: Recipe) -> list[Finding]:
    found = [
        Finding(part, Verdict.FITS, f"{model.name}: {model.size.parameters:,} parameters, by {model.source}")
        for part, model in (("student", shapes.student), ("teacher", shapes.teacher))
        if model
    ]
    if shapes.teacher is None and isinstance(recipe.teacher, EndpointTeacher):
        cure = "a server of your own can be planned for: set teacher.engine, or give --teacher-config"
        found.append(Finding("teacher", Verdict.UNCHECKED, f"{recipe.teacher.model} is behind a URL", cure))
    elif shapes.teacher is None:
        found.append(Finding("teacher", Verdict.FITS, f"of kind {recipe.teacher.kind}: no model"))
    return found


def _parameters(shapes: Shapes, trainable: int) -> list[Figure]:
    group, origin = "parameters", "counted on torch's meta device"
    figures = [
        Figure(group, "student", shapes.student.size.parameters, Unit.PARAMETERS, f"{origin}, {shapes.student.source}"),
        Figure(group, "student: trained", trainable, Unit.PARAMETERS, origin),
    ]
    if shapes.teacher:
        size = shapes.teacher.size
        figures.append(Figure(group, "teacher", size.parameters, Unit.PARAMETERS, f"{origin}, {shapes.teacher.source}"))
        figures.append(Figure(group, "teacher: of a token", size.active, Unit.PARAMETERS, "experts that are asked"))
    return figures


def _counted(recipe: Recipe) -> list[Finding]:
    """Sets of which nobody knows the size: they count as empty."""
    unknown = [each for each in (*recipe.tasks.train, *recipe.tasks.eval) if not count(each)]
    found = f"{len(unknown)} task sets of unknown size are left out of disk and work"
    return [Finding("tasks", Verdict.UNCHECKED, found, "give their `count`")] if unknown else []


def _shown(recipe: Recipe) -> int | None:
    """Trajectories that serve as demonstrations; None where their run is not there yet."""
    if recipe.demonstrations is None or recipe.method.aggregate.iterations is not None:
        return 0
    if not (recipe.demonstrations / DATABASE).is_file():
        return None
    with Store.read(recipe.demonstrations / DATABASE) as store:
        return len(store.trajectories(purpose=Purpose.COLLECT))


def _no_demonstrations(recipe: Recipe) -> Finding:
    found = f"there is no run in {recipe.demonstrations}: what it demonstrates is left out of work"
    return Finding("demonstrations", Verdict.SHORT, found, "make that run first, or check the path")


def _lengths(recipe: Recipe, shapes: Shapes) -> list[Finding]:
    """Whether the models were made for so long a context."""
    found, context = [], recipe.student.context_tokens
    for part, model in (("student", shapes.student), ("teacher", shapes.teacher)):
        positions = model.size.positions if model else None
        if model and positions and positions < context:
            cure = "lower student.context_tokens, or let its server stretch positions (YaRN) as the model card says"
            said = f"{model.name} was made for {positions:,} tokens, the context is to hold {context:,}"
            found.append(Finding(f"context: {part}", Verdict.DOUBTFUL, said, cure))
    return found


def _endpoints(recipe: Recipe) -> list[Finding]:
    asked = list[tuple[str, str | Sequence[str], str]]()
    if recipe.student.served:
        asked.append(("student's server", recipe.student.served.base_url, recipe.student.served.api_key_env))
    if isinstance(recipe.teacher, EndpointTeacher):
        asked.append(("teacher's server", recipe.teacher.base_url, recipe.teacher.api_key_env))
    return [
        _answers(part, url, variable)
        for part, urls, variable in asked
        for url in ([urls] if isinstance(urls, str) else urls)
    ]


def _answers(part: str, url: str, variable: str) -> Finding:
    key = os.environ.get(variable)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        status = httpx.get(f"{url.rstrip('/')}/models", headers=headers, timeout=ASKED_SECONDS).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(
            part, Verdict.SHORT, f"{url} does not answer ({type(error).__name__})", "start it, or mend the URL"
        )
    if status == httpx.codes.OK:
        return Finding(part, Verdict.FITS, f"{url} answers")
    return Finding(part, Verdict.SHORT, f"{url} answers with {status}", f"check the URL, and the key in {variable}")
