"""A repair as one sed command, as short as it can be and still exact."""

import re

from rollin.policies.expert.knowledge import Fault


def repair(fault: Fault, number: int) -> str:
    """The command that repairs a fault which now starts at line `number`."""
    return f"sed -i {quoted(_script(fault, number))} {fault.path}"


def _script(fault: Fault, number: int) -> str:
    last = number + len(fault.wrong) - 1
    place = f"{number}" if last <= number else f"{number},{last}"
    if fault.is_gap:
        return f"{number}i {_text(fault.right)}"
    if not fault.right:
        return f"{place}d"
    if len(fault.wrong) != 1 or len(fault.right) != 1:
        return f"{place}c {_text(fault.right)}"
    return place + substitution(fault)


def _text(lines: tuple[str, ...]) -> str:
    """Lines as sed's `i` and `c` take them; a backslash keeps the first one's indentation."""
    text = "\\n".join(line.replace("\\", "\\\\") for line in lines)
    return f"\\{text}" if text.startswith((" ", "\t", "\\")) else text


def substitution(fault: Fault) -> str:
    """`s/old/new/` for a fault of one line. The old text is the line's first of its kind."""
    if fault.is_indent:
        indent = fault.right[0][: len(fault.right[0]) - len(fault.right[0].lstrip())]
        return f"s/^ */{indent}/"
    tokens, start, end, inserted = fault.change
    if start == end == len(tokens):
        return f"s/$/{_replacement(''.join(inserted))}/"
    begin = start
    while begin > 0 and not _found(tokens, begin, start, end):
        begin -= 1
    old, new = "".join(tokens[begin:end]), "".join([*tokens[begin:start], *inserted])
    return f"s/{_pattern(old)}/{_replacement(new)}/"


def _found(tokens: list[str], begin: int, start: int, end: int) -> bool:
    """Whether sed finds these tokens first at their own place. What only inserts wants a word to hold on to."""
    old = "".join(tokens[begin:end])
    anchored = end > start or any(re.match(r"\w", token) for token in tokens[begin:end])
    return bool(old) and anchored and "".join(tokens).find(old) == len("".join(tokens[:begin]))


def _pattern(text: str) -> str:
    return re.sub(r"([][\\/.*^$])", r"\\\1", text)


def _replacement(text: str) -> str:
    return re.sub(r"([\\/&])", r"\\\1", text)


def quoted(text: str) -> str:
    """For bash: in single quotes, or in double ones where the text has single quotes and nothing that bash expands."""
    if "'" not in text:
        return f"'{text}'"
    if re.search(r'["$`\\!]', text):
        return "'" + text.replace("'", "'\\''") + "'"
    return f'"{text}"'
