import pytest
from calc import evaluate, flat_value, substitute, variables


def test_flat_value_respects_precedence():
    assert flat_value("2 + 3 * 4 - 6 / 3") == 12


def test_flat_value_groups_from_the_left():
    assert flat_value("10 - 4 - 3") == 3
    assert flat_value("16 / 4 / 2") == 2


def test_flat_value_accepts_signs():
    assert flat_value("-2 * -3 + 1") == 7


def test_flat_value_rejects_words():
    with pytest.raises(ValueError):
        flat_value("2 + two")


def test_evaluate_parentheses():
    assert evaluate("2 * (3 + 4)") == 14
    assert evaluate("(1 + 2) * (7 - 2)") == 15


def test_evaluate_nested_parentheses():
    assert evaluate("100 - (8 / (1 + 3) - 5)") == 103


def test_evaluate_without_parentheses():
    assert evaluate("1.5 + 2") == 3.5


def test_variables_are_distinct_in_order():
    assert variables("width * height + width / n2") == ["width", "height", "n2"]


def test_substitute_whole_names_only():
    assert substitute("tax + taxes * 2", tax=5) == "5 + taxes * 2"


def test_substitute_then_evaluate():
    assert evaluate(substitute("a * (b + a)", a=3, b=4)) == 21
