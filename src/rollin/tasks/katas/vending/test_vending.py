import pytest
from vending import Machine, make_change


def machine_with(*coins):
    machine = Machine()
    for coin in coins:
        machine.insert(coin)
    return machine


def test_make_change_prefers_large_coins():
    assert make_change(385) == [200, 100, 50, 20, 10, 5]
    assert make_change(90) == [50, 20, 20]


def test_make_change_of_nothing():
    assert make_change(0) == []


def test_make_change_with_given_coins():
    assert make_change(70, coins=(50, 10)) == [50, 10, 10]


def test_insert_adds_up_the_credit():
    machine = Machine()
    assert [machine.insert(50), machine.insert(20)] == [50, 70]


def test_insert_rejects_foreign_coins():
    with pytest.raises(ValueError, match="unknown coin: 25"):
        Machine().insert(25)


def test_affordable_includes_the_exact_price():
    assert machine_with(100, 20, 5).affordable() == ["crisps", "gum", "water"]


def test_affordable_without_credit():
    assert Machine().affordable() == []


def test_buy_returns_change_and_clears_credit():
    machine = machine_with(200)
    assert machine.buy("juice") == [50]
    assert machine.credit == 0


def test_buy_with_exact_money():
    assert machine_with(50, 20, 20).buy("water") == []


def test_buy_needs_enough_credit():
    with pytest.raises(ValueError, match="^40 more cents needed"):
        machine_with(50).buy("water")
