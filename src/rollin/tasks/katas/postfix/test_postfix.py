import pytest

from postfix import evaluate, norm, run_stack, tokens


def test_tokens():
    assert tokens("3 -4.5+ 10 *") == ["3", "-4.5", "+", "10", "*"]


def test_tokens_minus_sign():
    assert tokens("7 2 -3 - 0.5/") == ["7", "2", "-3", "-", "0.5", "/"]


def test_run_stack():
    assert run_stack("1 2 3 +") == [1, 5]
    assert run_stack("") == []


def test_run_stack_too_few():
    with pytest.raises(ValueError, match="too few numbers"):
        run_stack("1 +")


def test_evaluate():
    assert evaluate("3 4 + 2 *") == 14
    assert evaluate("5 1 2 + 4 * + 3 -") == 14


def test_evaluate_order():
    assert evaluate("9 2 /") == 4.5
    assert evaluate("2 9 -") == -7


def test_evaluate_digits():
    assert evaluate("2 3 /") == 0.666667
    assert evaluate("2 3 /", digits=2) == 0.67


def test_evaluate_incomplete():
    with pytest.raises(ValueError, match="2 numbers left"):
        evaluate("1 2")


def test_norm():
    assert norm("3 2 2 +") == 5
    assert norm("") == 0
