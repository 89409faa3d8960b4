"""Split arithmetic text into tokens and inspect them."""

import re
from collections import namedtuple

PATTERN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-z]\w*)|(?P<symbol>[-+*/()])|(?P<bad>\S)"
)
Token = namedtuple("Token", ["kind", "text", "start"])


def tokenize(source):
    """Return the tokens of the source text, or raise at a bad character."""
    tokens = []
    for match in PATTERN.finditer(source):
        token = Token(match.lastgroup, match.group(), start=match.start())
        if token.kind == "bad":
            raise SyntaxError(f"unexpected {token.text!r} at {token.start}")
        tokens.append(token)
    return tokens


def select(tokens, kind="number"):
    """Return the texts of all tokens of one kind."""
    return [token.text for token in tokens if token.kind == kind]


def names(source):
    """Return the distinct names in the source text, sorted."""
    tokens, kind = tokenize(source), "name"
    return sorted(set(select(tokens, kind)))


def depth(tokens):
    """Return how deeply the parentheses nest, or -1 if they do not match."""
    level = deepest = 0
    for token in tokens:
        level += {"(": 1, ")": -1}.get(token.text, 0)
        if level < 0:
            return -1
        deepest = max(deepest, level)
    return deepest if level == 0 else -1


def compact(source):
    """Return the source text without any spaces between tokens."""
    return "".join(token.text for token in tokenize(source))
