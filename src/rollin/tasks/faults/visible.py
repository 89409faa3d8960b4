"""Visible faults: a slip of the keyboard whose place shows on the screen of the one who runs the tests.

Each repair is one line, and what it needs can be read somewhere: the right spelling stands elsewhere in the file (or,
for a configuration key, in the other file), or the interpreter names what it misses.
"""

import ast
import builtins
import io
import keyword
import random
import re
import sys
import tokenize
import warnings
from collections.abc import Iterable
from itertools import pairwise

from rollin.tasks.faults.base import Fault, Files, Propose, Source, line_of, occurs, words

MOST_COMPILED = 8
"""Candidates for a syntax error that are tried on the interpreter; a file has hundreds."""
_RESERVED = {*keyword.kwlist, *dir(builtins)}


def misspell(word: str, rng: random.Random) -> str:
    """Drop, double or swap one inner letter of a word of three or more; equal letters swapped leave it as it is."""
    place = rng.randrange(1, len(word) - 1)
    slip = rng.choice(("drop", "double", "swap"))
    if slip == "drop":
        return word[:place] + word[place + 1 :]
    if slip == "double":
        return word[:place] + word[place] + word[place:]
    swapped = word[place + 1 : place + 2] + word[place]
    return word[:place] + swapped + word[place + 2 :] if place + 2 < len(word) else word[:-1] + word[-2:]


def _respelled(kind: str, files: Files, path: str, found: list[tuple[int, str]], rng: random.Random) -> list[Fault]:
    """Faults that misspell the words found at offsets of a file, where the right spelling stands elsewhere in it."""
    taken, here = _RESERVED.union(*map(words, files.values())), words(files[path])
    faults = []
    for start, word in found:
        if len(word) < 4 or not word.isascii() or word.startswith("__") or here[word] < 2:
            continue
        wrong = misspell(word, rng)
        if wrong not in taken:
            faults.append(Fault(path, start, start + len(word), wrong, kind, answer=word))
    return faults


def misspelled_name(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """A variable's name where it is read."""
    source = Source.parse(files, path)
    called = {id(node.func) for node in source.nodes() if isinstance(node, ast.Call)}
    found = [
        (source.span(node)[0], node.id)
        for node in source.nodes()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in called
    ]
    return _respelled("misspelled_name", files, path, found, rng)


def misspelled_call(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """A function's name where it is called."""
    source = Source.parse(files, path)
    found = [
        (source.span(node.func)[0], node.func.id)
        for node in source.nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    return _respelled("misspelled_call", files, path, found, rng)


def misspelled_attribute(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """An attribute's name where it is read."""
    source = Source.parse(files, path)
    found = [
        (source.span(node)[1] - len(node.attr), node.attr)
        for node in source.nodes()
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    ]
    return _respelled("misspelled_attribute", files, path, found, rng)


def misspelled_keyword(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """A keyword argument's name at a call."""
    source = Source.parse(files, path)
    found = [
        (source.span(node)[0], node.arg)
        for node in source.nodes()
        if isinstance(node, ast.keyword) and node.arg is not None
    ]
    return _respelled("misspelled_keyword", files, path, found, rng)


def misspelled_import(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """A name in `from module import name`."""
    source = Source.parse(files, path)
    found = [
        (source.offset(alias.lineno, alias.col_offset), alias.name)
        for node in source.nodes()
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name != "*"
    ]
    return _respelled("misspelled_import", files, path, found, rng)


def misspelled_key(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """A text key in a subscript, spelled rightly elsewhere in the file or in a data file."""
    source = Source.parse(files, path)
    known = words("\n".join(files.values()))
    faults = []
    for node in source.nodes():
        key = node.slice.value if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) else None
        if not isinstance(key, str) or len(key) < 3 or not key.isidentifier() or known[key] < 2:
            continue
        assert isinstance(node, ast.Subscript)
        start, wrong = source.span(node.slice)[0] + 1, misspell(key, rng)
        if source.text[start : start + len(key)] == key and wrong not in known:
            faults.append(Fault(path, start, start + len(key), wrong, "misspelled_key", answer=key))
    return faults


def misspelled_data_key(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """A key or section of a JSON or INI file that the module spells rightly."""
    module = files[path]
    pattern = {".json": r'"(\w+)"\s*:', ".ini": r"^(\w+)\s*=|^\[(\w+)\]"}
    faults = []
    for name in sorted(files):
        suffix = name[name.rfind(".") :]
        for match in re.finditer(pattern.get(suffix, r"(?!)"), files[name], re.MULTILINE):
            group = match.lastindex or 1
            key, (start, end) = match[group], match.span(group)
            if len(key) < 3 or not re.search(rf"""["']{key}["']""", module):
                continue
            wrong = misspell(key, rng)
            if wrong not in words(files[name]) | words(module):
                faults.append(Fault(name, start, end, wrong, "misspelled_data_key", answer=key, shows=key))
    return faults


def missing_import(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """An import line taken away. Of `from` imports only those whose module is named elsewhere in the file, and
    whose name is no module's: from `datetime` alone nobody can tell which of two lines is lost."""
    source = Source.parse(files, path)
    faults = []
    for node in source.tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom) or len(node.names) != 1 or node.lineno != node.end_lineno:
            continue
        name = node.names[0].asname or node.names[0].name
        module = node.module if isinstance(node, ast.ImportFrom) else name
        if isinstance(node, ast.ImportFrom) and name in sys.stdlib_module_names:
            continue
        line = source.lines[node.lineno - 1]
        if module and line.startswith(("import", "from")) and occurs(module, source.text) > 1 and "." not in name:
            start = source.line_start(node.lineno)
            faults.append(Fault(path, start, start + len(line), "", "missing_import", line.strip(), shows=f"'{name}'"))
    return faults


def missing_argument(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """The last argument dropped at a call of the file's own function; it bears the name that Python says is missing."""
    source = Source.parse(files, path)
    signatures = {
        node.name: [arg.arg for arg in node.args.args] for node in source.nodes() if isinstance(node, ast.FunctionDef)
    }
    faults = []
    for node in source.nodes():
        if not isinstance(node, ast.Call) or len(node.args) < 2 or node.keywords:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        last, parameters = node.args[-1], signatures.get(name, [])
        if isinstance(last, ast.Name) and parameters and parameters[-1] == last.id:
            start, end = source.span(node.args[-2])[1], source.span(last)[1]
            if "\n" not in source.text[start:end]:
                faults.append(Fault(path, start, end, "", "missing_argument", answer=last.id))
    return faults


def _syntax_error_line(text: str) -> int | None:
    """The line that the interpreter complains of, or None if it doesn't."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "<candidate>", "exec")
        except SyntaxError as error:
            return error.lineno
    return None


def _complained_of(text: str, candidates: Iterable[Fault], rng: random.Random) -> list[Fault]:
    """Some of the candidates: those for which the interpreter's complaint names their own line."""
    every = list(candidates)
    return [
        fault
        for fault in rng.sample(every, min(MOST_COMPILED, len(every)))
        if _syntax_error_line(text[: fault.start] + fault.text + text[fault.end :]) == line_of(text, fault.start)
    ]


def _tokens(source: Source) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(source.text).readline))


def _closing(kind: str, source: Source, token: tokenize.TokenInfo) -> Fault:
    """A fault that drops a token's last character."""
    end = source.line_start(token.end[0]) + token.end[1]
    return Fault(source.path, end - 1, end, "", kind, answer=source.lines[token.end[0] - 1].strip())


def missing_colon(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """The colon that ends a `def`, `if`, `for` or `class` line."""
    source = Source.parse(files, path)
    candidates = (
        _closing("missing_colon", source, token)
        for token, after in pairwise(_tokens(source))
        if token.string == ":" and after.type == tokenize.NEWLINE
    )
    return _complained_of(source.text, candidates, rng)


def missing_bracket(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """A closing parenthesis, bracket or brace."""
    source = Source.parse(files, path)
    candidates = (
        _closing("missing_bracket", source, token)
        for token in _tokens(source)
        if token.type == tokenize.OP and token.string in (")", "]", "}")
    )
    return _complained_of(source.text, candidates, rng)


def missing_quote(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """The closing quote of a string on one line."""
    source = Source.parse(files, path)
    candidates = (
        _closing("missing_quote", source, token)
        for token in _tokens(source)
        if token.type == tokenize.STRING and token.string[-2] not in "\"'"
    )
    return _complained_of(source.text, candidates, rng)


def bad_indent(files: Files, path: str, rng: random.Random) -> list[Fault]:
    """A statement indented by a few spaces too many or too few."""
    source = Source.parse(files, path)
    candidates = []
    for node in source.nodes():
        if isinstance(node, ast.stmt) and node.col_offset:
            start = source.line_start(node.lineno)
            if source.text[start : start + node.col_offset].isspace():
                width = max(0, node.col_offset + rng.choice((-2, -1, 1, 2, 4)))
                answer = source.lines[node.lineno - 1].strip()
                candidates.append(Fault(path, start, start + node.col_offset, " " * width, "bad_indent", answer))
    return _complained_of(source.text, candidates, rng)


VISIBLE: dict[str, Propose] = {
    propose.__name__: propose
    for propose in (
        misspelled_name,
        misspelled_call,
        misspelled_attribute,
        misspelled_keyword,
        misspelled_import,
        misspelled_key,
        misspelled_data_key,
        missing_import,
        missing_argument,
        missing_colon,
        missing_bracket,
        missing_quote,
        bad_indent,
    )
}
"""Every kind of visible fault."""
