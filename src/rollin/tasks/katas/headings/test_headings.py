from headings import (
    find_headings,
    level_counts,
    make_anchor,
    table_of_contents,
    unique_anchors,
)


def test_find_headings_levels():
    text = "# Top\nwords # here\n### Deep one ##\n####### no\n#tag"
    assert find_headings(text) == [(1, "Top"), (3, "Deep one")]


def test_find_headings_skips_code():
    text = "# A\n```\n# comment\n```\n## B\n```sh\n# other\n```"
    assert find_headings(text) == [(1, "A"), (2, "B")]


def test_make_anchor_words():
    assert make_anchor("What's new, in 2.0?") == "whats-new-in-20"
    assert make_anchor(" Well-known  terms ") == "well-known-terms"


def test_unique_anchors_repeated():
    titles = ["Use", "Notes", "use!", "Use"]
    assert unique_anchors(titles) == ["use", "notes", "use-1", "use-2"]


def test_unique_anchors_empty():
    assert unique_anchors([]) == []


def test_table_of_contents_nested():
    contents = table_of_contents("# Guide\n## First steps\n")
    assert contents == "- [Guide](#guide)\n  - [First steps](#first-steps)"


def test_table_of_contents_default_depth():
    text = "### Kept\n#### Dropped"
    assert table_of_contents(text) == "    - [Kept](#kept)"


def test_table_of_contents_depth():
    text = "# Use\n## Use\n# Use"
    assert table_of_contents(text, deepest=1) == "- [Use](#use)\n- [Use](#use-1)"


def test_level_counts_by_level():
    assert level_counts("# A\n## B\n## C\ntext") == {1: 1, 2: 2}
