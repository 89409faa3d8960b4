from textfill import center_line, fill_paragraphs, shorten, wrap_text


def test_wrap_text_breaks_at_width():
    assert wrap_text("one two three four", width=7) == ["one two", "three", "four"]
    assert wrap_text("one two three four", width=6) == ["one", "two", "three", "four"]


def test_wrap_text_long_word_and_nothing():
    assert wrap_text("a extraordinary b", width=5) == ["a", "extraordinary", "b"]
    assert wrap_text("  ") == []


def test_wrap_text_default_width():
    assert wrap_text("a" * 40 + " " + "b" * 31) == ["a" * 40 + " " + "b" * 31]
    assert wrap_text("a" * 40 + " " + "b" * 32) == ["a" * 40, "b" * 32]


def test_fill_paragraphs_separates_blocks():
    text = "one two\nthree\n  \nfour five\n"
    assert fill_paragraphs(text, width=9) == "one two\nthree\n\nfour five"


def test_fill_paragraphs_prefix_counts():
    assert fill_paragraphs("ab cd ef", width=7, prefix="> ") == "> ab cd\n> ef"


def test_fill_paragraphs_default_width():
    text = "a" * 40 + " " + "b" * 31
    assert fill_paragraphs(text) == text
    assert fill_paragraphs(text + "b") == "a" * 40 + "\n" + "b" * 32


def test_center_line_even_and_odd():
    assert center_line("ab", 6) == "  ab  "
    assert center_line("ab", 5, fill="*") == "*ab**"


def test_center_line_too_long():
    assert center_line("abcdef", 4) == "abcdef"


def test_shorten_fits():
    assert shorten(" one   two\n", 7) == "one two"


def test_shorten_cuts_at_word():
    assert shorten("one two three", 12) == "one two..."
    assert shorten("one two three", 8, ending="!") == "one two!"
