"""Options in key=value form, on top of the defaults in settings.json."""

import json
from pathlib import Path


def load_defaults():
    """Read the default of every known option."""
    path = Path(__file__).with_name("settings.json")
    return json.loads(path.read_text(encoding="utf-8"))


def parse_line(line):
    """Split a key=value line, or give None for a blank or a comment."""
    content = line.partition("#")[0].strip()
    if not content:
        return None
    name, equals, value = content.partition("=")
    if not equals:
        raise ValueError(f"no value in {content!r}")
    return name.strip(), value.strip()


def parse_options(text):
    """Read options from lines of text; those left out keep their default."""
    options = load_defaults()
    for pair in filter(None, map(parse_line, text.splitlines())):
        name, value = pair
        default = options[name]
        options[name] = _convert(value, default)
    return options


def changed_options(options):
    """Pick the options that differ from their default."""
    defaults = load_defaults()
    return {name: options[name] for name in options if options[name] != defaults[name]}


def dump_options(options, indent=2):
    """Write options as JSON, sorted by name."""
    return json.dumps(options, indent=indent, sort_keys=True)


def _convert(value, default):
    if isinstance(default, bool):
        return value.lower() in ("yes", "true", "on")
    return type(default)(value)
