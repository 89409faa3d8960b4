import pytest
from csvline import enquote, join_line, split_line, to_record, unquote


def test_split_line_plain():
    assert split_line("pear,4,,red") == ["pear", "4", "", "red"]


def test_split_line_quoted_separator():
    assert split_line('"Paris, France",75') == ["Paris, France", "75"]
    assert split_line('a,"b,c","d,e"') == ["a", "b,c", "d,e"]


def test_split_line_other_separator():
    assert split_line("a|b,c|d", separator="|") == ["a", "b,c", "d"]


def test_unquote_doubled_quotes():
    assert unquote('"say ""hi"""') == 'say "hi"'
    assert unquote('""') == ""


def test_unquote_leaves_unbalanced():
    assert unquote('"') == '"'
    assert unquote('5"') == '5"'
    assert unquote('"open') == '"open'


def test_enquote_only_if_needed():
    assert enquote("plain", ",") == "plain"
    assert enquote("a,b", ",") == '"a,b"'
    assert enquote("a,b", ";") == "a,b"


def test_enquote_quotes_and_breaks():
    assert enquote('5" pipe', ",") == '"5"" pipe"'
    assert enquote("two\nlines", ",") == '"two\nlines"'


def test_join_line_quotes_fields():
    assert join_line(["x", "y,z", ""]) == 'x,"y,z",'


def test_join_line_other_separator():
    assert join_line(["x", "y,z", "a;b"], separator=";") == 'x;y,z;"a;b"'


def test_to_record_pairs_names():
    assert to_record("name,age", "Ada,36") == {"name": "Ada", "age": "36"}
    assert to_record("a;b", "1,5;2", separator=";") == {"a": "1,5", "b": "2"}


def test_to_record_length_mismatch():
    with pytest.raises(ValueError, match="expected 2 fields, found 1"):
        to_record("name,age", "Ada")
