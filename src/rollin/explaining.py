"""What is wrong with settings, in a sentence."""

import difflib
import re
from collections.abc import Iterable, Sequence
from reprlib import repr as brief
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

TYPE = re.compile(r"(constrained-\w+|list\[.*\]|dict\[.*\]|int|float|str)$")
"""What pydantic calls a type among others."""
GROUP = ("dict_type", "model_type", "model_attributes_type")
"""What pydantic calls it where something else stands for a group of settings."""


def explain(error: ValidationError, whole: type[BaseModel]) -> str:
    """The first thing wrong with what should be a `whole`, in one sentence, with the nearest valid key where a key is
    unknown."""
    # An unknown key first: where it was meant for a required one, that one is missing only for this reason. Where a
    # setting can be of several types, the complaint of the type that was given.
    first = max(
        error.errors(), key=lambda e: (e["type"] == "extra_forbidden", not e["type"].endswith("_type"), -len(e["loc"]))
    )
    place, valid = _place(first["loc"], whole)
    if first["type"] == "extra_forbidden":
        return f"unknown setting {place!r}{nearest(str(first['loc'][-1]), valid)}"
    if first["type"] == "missing":
        return f"setting {place!r} is missing; add it"
    chosen_by = str(first.get("ctx", {}).get("discriminator", "")).strip("'")
    if first["type"] == "union_tag_not_found":
        return f"setting '{place}.{chosen_by}' is missing; add it"
    if first["type"] in GROUP or (chosen_by and not isinstance(first["input"], dict)):
        return f"setting {place!r} is a group of settings, not {brief(first['input'])}; write them under it"
    if chosen_by:
        word, known = first["ctx"]["tag"], re.findall("'(.*?)'", first["ctx"]["expected_tags"])
        return f"setting '{place}.{chosen_by}' can't be {word!r}{nearest(word, known)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"setting {place!r}: {message[0].lower()}{message[1:]}" if place else message


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: what was meant, or what there is."""
    known = [*known]
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else f"; valid ones are {', '.join(known)}"


def _place(location: Sequence[int | str], whole: type[BaseModel]) -> tuple[str, list[str]]:
    """(a place as a recipe's reader finds it, the settings that are valid there).

    Where a setting can be of several kinds or types, pydantic names that in between, as if it were a setting.
    """
    shown, valid = list[str](), list[str]()
    models = [whole]
    for part in location:
        kinds = [model for model in models if part in _kinds(model)]
        if kinds and not any(part in model.model_fields for model in models):
            models = kinds
            continue
        if not isinstance(part, str) or not TYPE.match(part):
            shown.append(str(part))
        if isinstance(part, str):
            valid = sorted({name for model in models for name in model.model_fields})
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [inner for field in fields for inner in _models_in(field.annotation)] or models
    return ".".join(shown), valid


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    """What pydantic calls a model among others: its `kind`, or its own name."""
    kind = model.model_fields.get("kind")
    return (model.__name__, *(get_args(kind.annotation) if kind else ()))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
