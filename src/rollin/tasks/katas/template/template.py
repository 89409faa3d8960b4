"""Text templates with places such as {{ name }} or {{ name|upper }}."""

import re

PLACE = r"\{\{\s*(\w+)\s*(?:\|\s*(\w+)\s*)?\}\}"
FILTERS = {"upper": str.upper, "title": str.title, "trim": str.strip}


def place_names(text):
    """List the names used in a template, each once, in order."""
    names = [match[1] for match in re.finditer(PLACE, text)]
    return list(dict.fromkeys(names))


def missing_names(text, values):
    """List the names in a template that have no value."""
    return [name for name in place_names(text) if name not in values]


def render(text, values, default=""):
    """Fill in a template, with the default for names that have no value."""
    return re.sub(PLACE, lambda match: _fill(match, values, default), text)


def render_each(text, rows, separator="\n"):
    """Fill in a template for each row; a place {{ row }} gets its number."""
    filled = []
    for number, fields in enumerate(rows, start=1):
        values = {"row": number, **fields}
        filled.append(render(text, values))
    return separator.join(filled)


def _fill(match, values, default):
    name, modifier = match.groups()
    value = str(values.get(name, default))
    return FILTERS[modifier](value) if modifier else value
