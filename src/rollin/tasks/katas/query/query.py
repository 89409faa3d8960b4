"""Read and change the query string of a web address."""

from urllib.parse import quote, unquote_plus


def parse_query(query):
    """Map each name to the list of its values."""
    params = {}
    for piece in query.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            params.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return params


def build_query(params):
    """Write names and their lists of values as a query string."""
    pieces = []
    for name, values in params.items():
        pieces.extend(_encode_pair(name, value) for value in values)
    return "&".join(pieces)


def first_value(query, name, default=""):
    """Look up the first value of a name."""
    values = parse_query(query).get(name)
    return values[0] if values else default


def set_param(address, name, value):
    """Give a name one value in the query of an address."""
    base, _, query = address.partition("?")
    params = parse_query(query)
    params[name] = [value]
    return base + "?" + build_query(params)


def drop_param(address, name):
    """Remove a name from the query of an address."""
    base, _, query = address.partition("?")
    params = parse_query(query)
    params.pop(name, None)
    return base + "?" + build_query(params) if params else base


def _encode_pair(name, value):
    return quote(name, safe="") + "=" + quote(value, safe="")
