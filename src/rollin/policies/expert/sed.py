"""A repair as one sed command: exact, short, and without a line number where the text itself is unmistakable.

A student has to learn each form from a few examples, and it misspells what it copies. So there are few forms, and they
say little: a misspelled word is exchanged wherever it stands, what a line has lost is put in by a substitution that
can't be written without it, indentation is put right by itself, a lost import goes above the others.
"""

import re
from dataclasses import dataclass

from rollin.policies.expert.knowledge import Fault
from rollin.policies.expert.steps import comes_first, exchange_word, put_first

LONGEST = 10
"""Tokens of context and change together; what needs more gets a line number instead."""


def repair(fault: Fault, number: int, text: str) -> str:
    """The command that repairs a fault which now starts at line `number`; `text` is the whole file's."""
    if fault.is_indent:
        (line,) = fault.right
        return _sed(rf"{number}s/^\s*/{line[: -len(line.lstrip())]}/", fault.path)
    if fault.is_spelling and len(re.findall(rf"\b{fault.old}\b", text)) == 1:
        return exchange_word(fault.old, fault.new)
    exchanged = exchange(fault, text)
    if fault.is_import and comes_first(text, fault.right[0].split()[-1]):
        return put_first(_replacement(fault.right[0]), fault.path)
    return _sed(substitution(*exchanged) if exchanged else _script(fault, number), fault.path)


def rewrite(fault: Fault, number: int) -> str:
    """The command that makes line `number` what a fault's one line has to be, whatever stands there."""
    return _sed(rf"{number}c\{_text(fault.right)}", fault.path)


def _sed(script: str, path: str) -> str:
    return f"sed -i {quoted(script)} ./{path}"


def exchange(fault: Fault, text: str) -> tuple[str, str] | None:
    """What has to be replaced and by what, with as much context as makes it unique; None where that takes too long.

    A line that the interpreter complains of as such is placed by its number, which the interpreter says.
    """
    if len(fault.wrong) != 1 or len(fault.right) != 1 or fault.is_of_line:
        return None
    tokens, start, end, inserted = fault.change
    spans = [(begin, stop) for begin in range(start + 1) for stop in range(end, len(tokens) + 1) if begin < stop]
    for begin, stop in sorted(spans, key=lambda span: (span[1] - span[0], span[0])):
        old = "".join(tokens[begin:stop])
        new = "".join([*tokens[begin:start], *inserted, *tokens[end:stop]])
        if stop - begin <= LONGEST and _speaks(old) and len(re.findall(_literal(old), text)) == 1:
            return old, new
    return None


def _speaks(old: str) -> bool:
    """Whether a reader sees what is meant: a word is in it."""
    return old == old.strip() and bool(re.search(r"[^\W\d]{3}", old)) and old not in ("and", "not")


def _literal(text: str) -> str:
    """As Python reads the pattern that sed gets."""
    return re.escape(text).replace(r"\.", ".")


def _script(fault: Fault, number: int) -> str:
    last = number + len(fault.wrong) - 1
    place = f"{number}" if last <= number else f"{number},{last}"
    if fault.is_gap:
        return f"{number}i\\{_text(fault.right)}"
    if not fault.right:
        return f"{place}d"
    if len(fault.wrong) != 1 or len(fault.right) != 1:
        return f"{place}c\\{_text(fault.right)}"
    return place + _in_line(fault)


def _text(lines: tuple[str, ...]) -> str:
    """Lines as sed takes them after `i` or `c` and a backslash, which keeps the first one's indentation."""
    return "\\n".join(line.replace("\\", "\\\\") for line in lines)


def _in_line(fault: Fault) -> str:
    """`s/old/new/` within a known line. The old text is the line's first of its kind."""
    if lost := insertion(fault):
        return lost.script
    tokens, start, end, inserted = fault.change
    begin = start
    while begin > 0 and not _found(tokens, begin, start, end):
        begin -= 1
    return substitution("".join(tokens[begin:end]), "".join([*tokens[begin:start], *inserted]))


@dataclass(frozen=True)
class Insertion:
    """What a line has lost, and where: before a sign, after some text, or at its end where neither is said.

    The substitution can't be written without something new in it, as a copy of the whole line can.
    """

    text: str
    before: str = ""
    after: str = ""

    @property
    def script(self) -> str:
        """The substitution."""
        text = _replacement(self.text)
        if self.before:
            return f"s/{_pattern(self.before)}/{text}&/"
        return f"s/{_pattern(self.after)}/&{text}/" if self.after else f"s/$/{text}/"

    def __str__(self) -> str:
        """In words."""
        place = f"before {self.before}" if self.before else f"after {self.after}" if self.after else "at its end"
        return f"{self.text.strip(', ')} {place}"


def insertion(fault: Fault) -> Insertion | None:
    """What a fault's one line has lost; None where it has something wrong, or where sed would find another place."""
    tokens, start, end, inserted = fault.change
    text = "".join(inserted)
    if start != end or len(fault.wrong) != 1 or len(fault.right) != 1:
        return None
    if start == len(tokens):
        return Insertion(text)
    if not re.match(r"\w|\s", tokens[start]) and _found(tokens, start, start, start + 1):
        return Insertion(text, before=tokens[start])
    held = next((begin for begin in range(start - 1, -1, -1) if _found(tokens, begin, start, start)), None)
    return None if held is None else Insertion(text, after="".join(tokens[held:start]))


def _found(tokens: list[str], begin: int, start: int, end: int) -> bool:
    """Whether sed finds these tokens first at their own place. What only inserts wants a word to hold on to."""
    old = "".join(tokens[begin:end])
    anchored = end > start or any(re.match(r"\w", token) for token in tokens[begin:end])
    found = re.search(_literal(old), "".join(tokens))
    return bool(old) and anchored and found is not None and found.start() == len("".join(tokens[:begin]))


def substitution(old: str, new: str) -> str:
    """`s/old/new/`. A dot is left as it is: it stands for itself too, and nothing else matches here."""
    return f"s/{_pattern(old)}/{_replacement(new)}/"


def _pattern(text: str) -> str:
    return re.sub(r"([\[\\/*^$])", r"\\\1", text)


def _replacement(text: str) -> str:
    return re.sub(r"([\\/&])", r"\\\1", text)


def quoted(text: str) -> str:
    """For bash: in single quotes, or in double ones where the text has single quotes and nothing that bash expands."""
    if "'" not in text:
        return f"'{text}'"
    if re.search(r'["$`\\!]', text):
        return "'" + text.replace("'", "'\\''") + "'"
    return f'"{text}"'
