"""Split and join single lines of comma-separated values."""

import re


def split_line(line, separator=","):
    """Split a line at the separators that stand outside double quotes."""
    boundary = re.escape(separator) + r'(?=(?:[^"]*"[^"]*")*[^"]*$)'
    return [unquote(field) for field in re.split(boundary, line)]


def unquote(field):
    """Remove the outer quotes of a field and halve the quotes within."""
    if len(field) >= 2 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field


def enquote(field, separator):
    """Put quotes around a field that could not stand without them."""
    special = "[\"\n" + re.escape(separator) + "]"
    if re.search(special, field):
        return '"' + field.replace('"', '""') + '"'
    return field


def join_line(fields, separator=","):
    """Join fields into one line, with quotes where needed."""
    quoted = [enquote(field, separator) for field in fields]
    return separator.join(quoted)


def to_record(header, line, separator=","):
    """Map the names in a header line to the fields of another line."""
    names = split_line(header, separator)
    fields = split_line(line, separator)
    if len(names) != len(fields):
        raise ValueError(f"expected {len(names)} fields, found {len(fields)}")
    return dict(zip(names, fields, strict=True))
