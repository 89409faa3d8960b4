"""Slugs: readable, lowercase names for use in web addresses."""

import re
import unicodedata


def strip_accents(text):
    """Replace accented letters by their plain forms."""
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def slugify(title, separator="-"):
    """Turn a title into a slug."""
    plain = strip_accents(title).lower()
    words = re.findall(r"[a-z0-9]+", plain)
    return separator.join(words)


def is_slug(text):
    """Tell whether a text is a slug joined by single dashes."""
    return re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text) is not None


def clip_slug(slug, limit):
    """Shorten a slug to a limit, at a dash where there is one."""
    if len(slug) <= limit:
        return slug
    clipped = slug[: limit + 1].rpartition("-")[0]
    return clipped or slug[:limit]


def unique_slug(title, taken, limit=40):
    """Make a slug that is not taken, with a number from 2 if needed."""
    base = clip_slug(slugify(title), limit)
    number, candidate = 1, base
    while candidate in taken:
        number += 1
        candidate = _numbered(base, number)
    return candidate


def _numbered(base, number):
    return f"{base}-{number}"
