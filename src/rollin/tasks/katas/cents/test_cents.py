from cents import allocate, format_amount, parse_amount, percentage, split_amount


def test_parse_amount_plain():
    assert parse_amount("1,234.50") == 123450
    assert parse_amount("7") == 700
    assert parse_amount("-0.05") == -5


def test_parse_amount_rounds():
    assert parse_amount("0.125") == 13
    assert parse_amount("0.124") == 12


def test_format_amount_thousands():
    assert format_amount(123456789) == "$1,234,567.89"
    assert format_amount(100) == "$1.00"


def test_format_amount_symbol_and_sign():
    assert format_amount(-205, symbol="€") == "-€2.05"
    assert format_amount(0, symbol="") == "0.00"
    assert format_amount(-1) == "-$0.01"


def test_percentage_rounds_half_up():
    assert percentage(250, 1) == 3
    assert percentage(249, 1) == 2


def test_percentage_fraction():
    assert percentage(10000, 7.5) == 750


def test_split_amount_with_rest():
    assert split_amount(1000, 3) == [334, 333, 333]
    assert split_amount(11, 4) == [3, 3, 3, 2]


def test_split_amount_even():
    assert split_amount(900, 3) == [300, 300, 300]


def test_allocate_by_weight():
    assert allocate(1000, [1, 1, 2]) == [250, 250, 500]
    assert allocate(1000, [3, 1]) == [750, 250]


def test_allocate_keeps_sum():
    assert allocate(100, [1, 1, 1]) == [33, 33, 34]
    assert allocate(5, [1, 1]) == [3, 2]
