"""Tables of contents from the headings of a Markdown text."""

import re
from collections import Counter


def find_headings(text):
    """List the level and title of each heading outside code fences."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^(#{1,6}) +(.+?)[ #]*$", prose, flags=re.MULTILINE)
    return [(len(marks), title) for marks, title in found]


def make_anchor(title):
    """Turn a title into the name of a link target."""
    kept = re.sub(r"[^\w\s-]", "", title.lower())
    return re.sub(r"\s+", "-", kept.strip())


def unique_anchors(titles):
    """Make anchors for titles, numbered from the second of a kind."""
    counts, anchors = Counter(), []
    for title in titles:
        anchor = make_anchor(title)
        suffix = f"-{counts[anchor]}" if counts[anchor] > 0 else ""
        counts[anchor] += 1
        anchors.append(anchor + suffix)
    return anchors


def table_of_contents(text, deepest=3):
    """Write a nested list of links to the headings."""
    chosen = [entry for entry in find_headings(text) if entry[0] <= deepest]
    anchors = unique_anchors([title for _, title in chosen])
    lines = []
    for (level, title), anchor in zip(chosen, anchors, strict=True):
        lines.append(_link_line(level, title, anchor))
    return "\n".join(lines)


def level_counts(text):
    """Count the headings of each level."""
    return Counter(level for level, _ in find_headings(text))


def _link_line(level, title, anchor):
    indent = "  " * (level - 1)
    return f"{indent}- [{title}](#{anchor})"
