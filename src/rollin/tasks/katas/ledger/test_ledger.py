from decimal import Decimal

import pytest
from ledger import Account, Entry, transfer


def test_balance_starts_at_zero():
    assert Account().balance() == 0


def test_balance_is_exact():
    account = Account()
    account.entries = [Entry(Decimal(text), "cash") for text in ("0.10", "0.20")]
    assert account.balance() == Decimal("0.30")


def test_deposit_adds_an_entry():
    account = Account()
    account.deposit("12.50", memo="gift")
    account.deposit("1")
    assert account.entries == [Entry(Decimal("12.5"), "gift"), Entry(1, "cash")]


def test_deposit_must_be_positive():
    with pytest.raises(ValueError, match="must be positive"):
        Account().deposit("0")


def test_withdraw_can_empty_the_account():
    account = Account()
    account.deposit("20")
    account.withdraw("20")
    assert account.entries[-1] == Entry(-20, "cash")


def test_withdraw_within_the_limit():
    account = Account(limit="50")
    account.withdraw("50", memo="rent")
    assert account.entries == [Entry(-50, "rent")]


def test_withdraw_beyond_the_limit():
    account = Account(limit="50")
    with pytest.raises(ValueError, match="limit exceeded"):
        account.withdraw("50.01")


def test_totals_by_memo():
    account = Account()
    for amount, memo in [("9", "pay"), ("4", "gift"), ("5", "pay")]:
        account.deposit(amount, memo=memo)
    assert account.totals() == {"pay": 14, "gift": 4}


def test_transfer_moves_money():
    source, target = Account(limit="100"), Account()
    transfer(source, target, "30.25")
    assert source.entries == [Entry(Decimal("-30.25"), "transfer")]
    assert target.entries == [Entry(Decimal("30.25"), "transfer")]


def test_transfer_refused_leaves_the_target_alone():
    source, target = Account(), Account()
    with pytest.raises(ValueError):
        transfer(source, target, "1")
    assert target.entries == []
