import pytest
from convert import compatible, convert, load_units, parse


def test_load_units_reads_the_file():
    units = load_units()
    assert len(units) == 7
    assert units["kilometre"] == {"kind": "length", "factor": 1000}


def test_convert_temperatures():
    assert convert(212, "fahrenheit", "celsius") == 100
    assert convert(-40, "celsius", "fahrenheit") == -40
    assert convert(25, "celsius", "kelvin") == 298.15


def test_convert_lengths():
    assert convert(2.5, "kilometre", "metre") == 2500
    assert convert(3, "foot", "inch") == 36


def test_convert_rounds_to_digits():
    assert convert(1, "inch", "metre") == 0.03
    assert convert(1, "inch", "metre", digits=3) == 0.025


def test_convert_refuses_other_kinds():
    with pytest.raises(ValueError, match="cannot convert foot to kelvin"):
        convert(1, "foot", "kelvin")


def test_parse_number_and_unit():
    assert parse("12.5 inch") == (12.5, "inch")
    assert parse(" -3celsius ") == (-3.0, "celsius")


def test_parse_rejects_other_text():
    with pytest.raises(ValueError, match="not a quantity: 'inch 3'"):
        parse("inch 3")


def test_compatible_temperatures():
    assert compatible("celsius") == ["fahrenheit", "kelvin"]


def test_compatible_lengths():
    assert compatible("foot") == ["inch", "kilometre", "metre"]
