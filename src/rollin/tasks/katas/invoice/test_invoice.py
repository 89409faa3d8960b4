import pytest
from invoice import Invoice


def test_add_collects_by_category():
    invoice = Invoice("Ann")
    invoice.add(250, count=3)
    invoice.add(100)
    assert invoice.nets == {"standard": 850}


def test_add_unknown_category():
    with pytest.raises(ValueError, match="no tax rate for toys"):
        Invoice("Ann").add(100, category="toys")


def test_net_over_categories():
    invoice = Invoice("Ann")
    invoice.add(1000, count=2, category="books")
    invoice.add(350, category="food")
    assert invoice.net() == 2350


def test_net_of_nothing():
    assert Invoice("Ann").net() == 0


def test_tax_by_rate():
    invoice = Invoice("Ann")
    invoice.add(1000)
    invoice.add(1000, category="books")
    assert (invoice.tax("standard"), invoice.tax("books")) == (200, 0)


def test_tax_rounds_half_up():
    invoice = Invoice("Ann")
    invoice.add(300, category="food")
    invoice.add(14, category="travel")
    assert (invoice.tax("food"), invoice.tax("travel")) == (17, 1)


def test_total_with_tax():
    invoice = Invoice("Ann")
    invoice.add(1000)
    invoice.add(500, count=2, category="travel")
    assert invoice.total() == 2300


def test_total_discount():
    invoice = Invoice("Ann")
    invoice.add(1000, category="books")
    assert invoice.total(discount=300) == 700
    assert invoice.total(discount=1500) == 0


def test_summary_shows_total():
    invoice = Invoice("Bob")
    invoice.add(1005, category="books")
    assert invoice.summary() == "Bob owes 10.05"


def test_summary_of_whole_amount():
    invoice = Invoice("Ann")
    invoice.add(1000, count=10)
    assert invoice.summary() == "Ann owes 120.00"
