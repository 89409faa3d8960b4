import pytest
from lexer import Token, compact, depth, names, select, tokenize


def test_tokenize_numbers_and_symbols():
    kinds = [token.kind for token in tokenize("2.5 * (a1 - 3)")]
    assert kinds == ["number", "symbol", "symbol", "name", "symbol", "number", "symbol"]


def test_tokenize_records_positions():
    assert tokenize("7 + x") == [
        Token("number", "7", 0), Token("symbol", "+", 2), Token("name", "x", 4)
    ]


def test_tokenize_empty_text():
    assert tokenize("  ") == []


def test_tokenize_reports_bad_characters():
    with pytest.raises(SyntaxError, match="unexpected '[$]' at 4"):
        tokenize("1 + $")


def test_select_defaults_to_numbers():
    assert select(tokenize("10 + rate * 2.50")) == ["10", "2.50"]


def test_select_other_kind():
    assert select(tokenize("10 / rate - 1"), kind="symbol") == ["/", "-"]


def test_names_are_distinct_and_sorted():
    assert names("tax * price + tax / 2") == ["price", "tax"]


def test_depth_of_nested_parentheses():
    assert depth(tokenize("(1 + (2)) * (3)")) == 2
    assert depth(tokenize("1 + 2")) == 0


def test_depth_detects_a_missing_close():
    assert depth(tokenize("((1)")) == -1


def test_depth_detects_an_early_close():
    assert depth(tokenize("1) + (2")) == -1


def test_compact_drops_spaces():
    assert compact(" 1 +  ( b2 / 4 ) ") == "1+(b2/4)"
