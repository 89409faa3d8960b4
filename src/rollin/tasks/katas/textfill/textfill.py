"""Fill, align and shorten plain text."""

import math
import re


def wrap_text(text, width=72):
    """Break a text into lines no longer than the width, if its words allow."""
    lines, current = [], ""
    for word in text.split():
        if current and not _fits(current, word, width):
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}".lstrip()
    return lines + [current] if current else lines


def fill_paragraphs(text, width=72, prefix=""):
    """Wrap each paragraph and put a prefix before each line."""
    blocks = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = wrap_text(paragraph, width - len(prefix))
        blocks.append("\n".join(prefix + line for line in lines))
    return "\n\n".join(blocks)


def center_line(line, width, fill=" "):
    """Pad a line on both sides, with any odd padding on the right."""
    padding = max(width - len(line), 0)
    left = math.floor(padding / 2)
    return fill * left + line + fill * (padding - left)


def shorten(text, width, ending="..."):
    """Cut a text at a word so that it fits with the ending."""
    flat = re.sub(r"\s+", " ", text.strip())
    if len(flat) <= width:
        return flat
    lines = wrap_text(flat, width=width - len(ending))
    return lines[0] + ending


def _fits(current, word, width):
    return len(current) + 1 + len(word) <= width
