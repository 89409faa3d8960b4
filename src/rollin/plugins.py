"""Code of one's own, named in a recipe: `package.module:name`, or `path/to/file.py:name`."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rollin.errors import UserError


def load(spec: str) -> Callable[..., Any]:
    """What a recipe names so. UserError where there is no such thing, or it can't be called."""
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise UserError(f"{spec!r} names no code: write package.module:name, or path/to/file.py:name")
    try:
        module = _of_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # whatever somebody's own code raises while it is imported
        raise UserError(
            f"{spec}: cannot be imported ({type(error).__name__}: {error}); mend it, or the path"
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        raise UserError(f"{spec}: there is no function or class {name!r} in it; check the name")
    return found  # type: ignore[no-any-return]


def make(spec: str, settings: Mapping[str, Any], members: Iterable[str]) -> Any:
    """What a class or function makes of these settings. UserError where it can't, or where what it made lacks one of
    the members."""
    maker = load(spec)
    try:
        made = maker(**settings)
    except Exception as error:  # whatever somebody's own code raises
        raise UserError(
            f"{spec}: cannot be made ({type(error).__name__}: {error}); mend it, or its settings"
        ) from error
    if missing := [member for member in members if not hasattr(made, member)]:
        raise UserError(f"{spec}: what it makes has no {', '.join(missing)}; see docs/your-own.md for what is wanted")
    return made


def _of_file(path: Path) -> Any:
    """The module of a file; the same one when it is named again."""
    name = f"rollin_plugin_{path.resolve().as_posix().replace('/', '_').removesuffix('.py')}"
    if name not in sys.modules:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        found = importlib.util.spec_from_file_location(name, path)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]
