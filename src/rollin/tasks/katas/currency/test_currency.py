from decimal import Decimal

from currency import (
    convert,
    exchange_rate,
    load_table,
    round_money,
    strongest,
    total_value,
)


def test_load_table_sections():
    assert load_table().sections() == ["rates", "digits"]
    assert load_table()["rates"]["gbp"] == "0.80"


def test_round_money_digits():
    assert round_money(Decimal("12.3456"), "USD") == Decimal("12.35")
    assert round_money(Decimal("12.3456"), "JPY") == Decimal("12")


def test_exchange_rate_from_euro():
    assert exchange_rate("EUR", "USD") == Decimal("1.25")
    assert exchange_rate("USD", "EUR") == Decimal("0.8")


def test_exchange_rate_across():
    assert exchange_rate("GBP", "JPY") == 200


def test_convert_to_euro():
    assert convert(10, "USD") == 8
    assert convert("2.40", "GBP") == 3


def test_convert_rounds_to_target():
    assert convert(1, "CHF", "JPY") == 167
    assert convert(1, "CHF", "EUR") == Decimal("1.04")


def test_convert_takes_charge():
    assert convert(200, "EUR", "USD", charge=2) == 245


def test_total_value_in_euro():
    assert total_value({"EUR": 5, "USD": 10, "JPY": 320}) == 15


def test_total_value_in_other_currency():
    assert total_value({"EUR": 4, "GBP": 8}, target="USD") == Decimal("17.50")


def test_strongest_unit():
    assert strongest(["JPY", "GBP", "USD"]) == "GBP"
    assert strongest(["USD", "CHF"]) == "CHF"
