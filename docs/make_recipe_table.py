"""Writes the tables of docs/recipes.md from the recipe's own models: `python docs/make_recipe_table.py`.

A setting's meaning is the docstring below it, where it is declared. MEANINGS has those whose name says nearly all and
that have none; tests/test_docs.py holds that no setting is without a meaning and that the page is in step.
"""

import ast
import inspect
import json
import re
import textwrap
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rollin.method import Method
from rollin.recipe import Recipe

PAGE = Path(__file__).with_name("recipes.md")
BEGIN, END = "<!-- settings: made by docs/make_recipe_table.py -->", "<!-- end of settings -->"
MEANINGS = {
    "Recipe.name": "Names the run's directory: `runs/NAME-TIME`.",
    "Recipe.seed": "Decides every choice of chance: who acts, sampling, the order of tasks and of training.",
    "Recipe.method": "A row of the table in `method.py`.",
    "Recipe.iterations": "How often to collect, aggregate, train.",
    "Recipe.student": "The model that learns.",
    "Recipe.teacher": "Who labels, and acts where the roll-in says so.",
    "Recipe.tasks": "What is trained on and what is evaluated on.",
    "Recipe.harness": "The agent scaffold.",
    "Recipe.sandbox": "What one trajectory may use.",
    "Recipe.training": "How the student learns in one iteration.",
    "Recipe.evaluation": "When the student is measured.",
    "Recipe.budget": "What it may use at most.",
    "StudentSettings.context_tokens": "A state that leaves no room for an action within it ends the trajectory.",
    "LocalTeacher.context_tokens": "The most tokens of state and action together.",
    "LocalTeacher.model": "As `student.model`.",
    "LocalTeacher.sampling": "How its actions and labels are drawn.",
    "EndpointTeacher.model": "The model's name there.",
    "EndpointTeacher.sampling": "How its actions and labels are drawn.",
    "TaskSettings.train": "Task sets to train on.",
    "TaskSettings.eval": "Task sets to evaluate on.",
    "BuiltTasks.source": "Small modules of rollin's own, or real packages.",
    "GymTasks.source": "Says that it is one.",
    "BuiltTasks.family": "What kind of fault the tasks hold.",
    "BuiltTasks.count": "How many.",
    "ByProgress.floor": "The least that beta becomes.",
    "Sampling.temperature": "0 is greedy.",
    "Sampling.top_p": "Nucleus sampling: draw from the likeliest tokens that together have this probability.",
    "MiniSweAgentSettings.max_turns": "LLM calls of one trajectory, at most.",
    "MiniSweAgentSettings.instance_template": "The second message: the task.",
    "MiniSweAgentSettings.observation_template": "What a command's outcome looks like to the agent.",
    "MiniSweAgentSettings.format_error_template": "What it is told when it did not give exactly one command.",
    "Limits.processes": "Processes at once.",
    "TrainingSettings.lora_rank": "With `lora`: the rank of the adapters.",
    "TrainingSettings.learning_rate": "At its highest.",
    "TrainingSettings.warmup_fraction": "Share of the steps in which the learning rate rises.",
    "TrainingSettings.schedule": "How the learning rate goes on from there.",
    "TrainingSettings.epochs": "Passes over the aggregated labels in each iteration.",
    "TrainingSettings.weight_decay": "AdamW's.",
    "TrainingSettings.max_grad_norm": "A gradient longer than this is shortened to it.",
    "TurnMixture.beta": "The probability that the teacher acts at a turn, iteration by iteration.",
    "Constant.value": "At every iteration.",
    "Linear.start": "At iteration 1.",
    "Linear.floor": "Never below this.",
    "Exponential.start": "At iteration 1.",
    "Exponential.decay": "Factor from one iteration to the next.",
    "Listed.values": "For iterations 1, 2, ...; the last one repeats.",
}
DEFAULTS = {"Method.name": "`dagger`", "Method.roll_in": "the row's"}
"""Of what the model requires and a recipe may leave out."""
TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "length at least"}


def tables() -> str:
    """A section for each group of settings, outermost first."""
    return "\n".join(_section(model, places) for model, places in groups().items())


def groups() -> dict[type[BaseModel], list[str]]:
    """Each model of the recipe -> the settings that hold one."""
    found: dict[type[BaseModel], list[str]] = {Recipe: []}
    for model in (queue := [Recipe]):
        for name, field in model.model_fields.items():
            place = name if model is Recipe else f"{_place(found[model])}.{name}"
            for inner in models_in(field.annotation):
                if inner not in found:
                    found[inner] = []
                    queue.append(inner)
                if place not in found[inner]:
                    found[inner].append(place)
    return found


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Setting -> what it means, for all settings of a model; "" where nobody says."""
    written: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            written |= _docstrings(base)
    return {name: written.get(name) or MEANINGS.get(f"{model.__name__}.{name}", "") for name in model.model_fields}


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a setting of this type can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for inner in get_args(annotation):
            yield from models_in(inner)


def with_tables(page: str) -> str:
    """The page with its tables made anew."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n\n{tables()}\n{END}", page, flags=re.DOTALL)


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return found


def _section(model: type[BaseModel], places: list[str]) -> str:
    kind = model.model_fields.get("kind")
    value = get_args(kind.annotation)[0] if kind else ""
    title = ", ".join(f"`{place}`" for place in places) or "The run"
    heading = f"### {title}" + (f" of kind `{value}`" if value else "")
    said = meanings(model)
    rows = [
        _row(name, field, said[name], DEFAULTS.get(f"{model.__name__}.{name}"))
        for name, field in model.model_fields.items()
        if name != "kind"
    ]
    table = ["| setting | type | default | meaning |", "|---|---|---|---|", *rows] if rows else []
    about = " ".join(inspect.getdoc(model).split()) if inspect.getdoc(model) else ""  # type: ignore[union-attr]
    return "\n".join([heading, "", about, "", *table, *([""] if table else [])])


def _row(name: str, field: FieldInfo, meaning: str, default: str | None) -> str:
    cells = (f"`{name}`", _type(field), default or _default(field), meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{BOUNDS[bound]} {getattr(rule, bound)}" for rule in field.metadata for bound in BOUNDS if hasattr(rule, bound)
    ]
    return ", ".join([_named(field.annotation), *bounds])


def _named(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in TYPES:
        return TYPES[annotation]
    if annotation is Any:
        return "anything"
    if list(models_in(annotation)):
        return "list of groups" if origin is list else "group"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    if origin is Annotated:
        return _named(inner[0])
    if origin is list:
        return f"list of {_named(inner[0])}s"
    if origin is dict:
        return f"{_named(inner[0])} to {_named(inner[1])}"
    assert origin in (Union, types.UnionType), annotation
    return " or ".join(_named(part) for part in inner if part is not type(None))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "**required**"
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        kind = {"kind": value.kind} if hasattr(value, "kind") else {}
        changed = kind | value.model_dump(mode="json", exclude_defaults=True)
        if isinstance(value, Method):
            return _code(value.name)
        return _code(", ".join(f"{name}: {item}" for name, item in changed.items())) if changed else "its defaults"
    return _code(value if isinstance(value, str) and "\n" not in value else json.dumps(value))


def _code(text: str) -> str:
    """As code, whatever backticks it holds itself."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{text}{space}{fence}"


def _place(places: list[str]) -> str:
    return places[0] if places else ""


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
