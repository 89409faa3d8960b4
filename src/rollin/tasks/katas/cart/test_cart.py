from decimal import Decimal

from cart import Cart


def cart_with(price, quantity):
    cart = Cart()
    cart.add("tea", price, quantity=quantity)
    return cart


def test_add_returns_the_quantity():
    cart = Cart()
    assert cart.add("tea", "3.50") == 1
    assert cart.add("tea", "3.50", quantity=2) == 3


def test_add_keeps_the_newest_price():
    cart = cart_with("3.50", 1)
    cart.add("tea", "3.00")
    assert cart.lines == {"tea": (3, 2)}


def test_subtotal_adds_the_lines():
    cart = cart_with("2.25", 4)
    cart.add("cup", "6.10")
    assert cart.subtotal() == Decimal("15.10")


def test_subtotal_with_bulk_discount():
    assert cart_with("2.00", 5).subtotal() == Decimal("8.00")


def test_subtotal_rounds_half_cents_up():
    assert cart_with("1.005", 1).subtotal() == Decimal("1.01")


def test_shipping_below_the_threshold():
    assert cart_with("49.99", 1).shipping() == Decimal("4.90")


def test_shipping_is_free_from_the_threshold():
    assert cart_with("50.00", 1).shipping() == 0


def test_total_without_a_code():
    assert cart_with("10.00", 1).total() == Decimal("14.90")


def test_total_with_a_code():
    assert cart_with("10.00", 1).total(code="WELCOME") == Decimal("13.90")
    assert cart_with("60.00", 1).total(code="STAFF") == Decimal("45.00")


def test_total_ignores_unknown_codes():
    assert cart_with("10.00", 1).total(code="NOPE") == Decimal("14.90")
