"""Writes the tables of attacks in docs/sandboxes.md from those that the tests run: `python docs/make_attack_table.py`.

tests/test_docs.py holds that the page is in step.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from attack_table import ATTACKS, EVERYWHERE, Attack
from patch_attacks import EXTRACTION, FORGERIES, PATCHES

PAGE = Path(__file__).with_name("sandboxes.md")
BEGIN, END = "<!-- attacks: made by docs/make_attack_table.py -->", "<!-- end of attacks -->"


def tables() -> str:
    """All of them, in Markdown."""
    lines = [_row("attack", *EVERYWHERE), _row(*["---"] * (1 + len(EVERYWHERE)))]
    lines += [_row(f"{each.kind}: {each.name}", *(_said(each, where) for where in EVERYWHERE)) for each in ATTACKS]
    lines += ["", _row("left in the repository, or sent as a patch", "what comes of it"), _row("---", "---")]
    lines += [_row(name, "nothing of it is run; the repair is found, or no patch") for name in EXTRACTION]
    lines += [_row(f"a patch with {name}", "a grade; nothing outside its sandbox changes") for name in PATCHES]
    lines += [_row(each.name, "does not resolve") for each in FORGERIES]
    return "\n".join(lines)


def _said(attack: Attack, where: str) -> str:
    return attack.outcome.value if where in attack.where else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def with_tables(page: str) -> str:
    """The page, its tables made anew."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
