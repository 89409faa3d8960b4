"""A recipe's file as settings: YAML, on top of the recipes that it builds on.

`base: experiment.yaml`, or a list of files, later ones on top; paths are relative to the recipe that names them. Groups
are joined setting by setting, lists and plain values are replaced. A group that says which kind it is (`kind`, or a
method's `name`) is meant as a whole: of another kind's group below it nothing is left.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rollin.errors import UserError
from rollin.files import read_text

BASE = "base"
KINDS = ("kind", "name")
"""What says which of several kinds a group is."""
UNNAMED = {"harness": "mini_swe_agent", "method": "dagger"}
"""Which kind a group is that doesn't say so."""


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a recipe's file and of its bases. Raises UserError in one sentence."""
    try:
        return _layered(path, ())
    except RecursionError as error:
        raise UserError(f"{path}: a setting holds itself, or is nested too deep; write it out plainly") from error


def _layered(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """`above` are the recipes that led here."""
    here = path.resolve()
    if here in above:
        raise UserError(f"the recipe {above[-1]} builds on {path}, which builds on it; take one `{BASE}` out")
    content = _read(path, above)
    below = dict[str, Any]()
    for base in _bases(content.pop(BASE, []), path):
        below = on_top(_layered(path.parent / base, (*above, here)), below)
    return on_top(content, below)


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    what = f"the recipe {path}" + (f" (a base of {above[-1]})" if above else "")
    text = read_text(path, what)
    try:
        content = yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError) as error:  # a date that there is none of is the latter
        raise UserError(f"{what} is not YAML: {str(error).splitlines()[0]}; mend its syntax") from error
    if not isinstance(content, dict):
        raise UserError(f"{what} holds no settings; see recipes/quickstart.yaml for an example")
    return content


class Loader(yaml.SafeLoader):
    """YAML would take the last of two settings of one name, without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                line = node.start_mark.line + 1
                raise yaml.constructor.ConstructorError(problem=f"{name!r} is there twice in the group at line {line}")
        return super().construct_mapping(node, deep)


def _bases(named: object, path: Path) -> list[str]:
    bases = [named] if isinstance(named, str) else named
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"the recipe {path}: `{BASE}` is neither a file's path nor a list of them; name a recipe")
    return bases


def on_top(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Settings joined group by group; where both say something, `upper` is right."""
    return {**lower, **{name: _over(name, value, lower.get(name)) for name, value in upper.items()}}


def _over(group: str, upper: object, lower: object) -> object:
    upper, lower = (_long(group, each) for each in (upper, lower))
    if not isinstance(upper, dict) or not isinstance(lower, dict):
        return upper
    if any(kind in upper and upper[kind] != lower.get(kind, UNNAMED.get(group)) for kind in KINDS):
        return upper
    return on_top(upper, lower)


def _long(group: str, value: object) -> object:
    """A method's short form, its name alone, as a group."""
    return {"name": value} if group == "method" and isinstance(value, str) else value
