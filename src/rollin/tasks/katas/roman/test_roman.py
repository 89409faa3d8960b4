import pytest
from roman import add_roman, from_roman, replace_digits, to_roman


def test_to_roman_subtractive_pairs():
    assert to_roman(1994) == "MCMXCIV"
    assert to_roman(449) == "CDXLIX"


def test_to_roman_all_letters():
    assert to_roman(1666) == "MDCLXVI"
    assert to_roman(1) == "I"


def test_to_roman_limits():
    assert to_roman(3999) == "MMMCMXCIX"
    with pytest.raises(ValueError):
        to_roman(4000)


def test_to_roman_rejects_zero():
    with pytest.raises(ValueError):
        to_roman(0)


def test_to_roman_custom_limit():
    assert to_roman(12, highest=12) == "XII"
    with pytest.raises(ValueError, match="13 is not between 1 and 12"):
        to_roman(13, highest=12)


def test_from_roman_values():
    assert from_roman("MMXXIV") == 2024
    assert from_roman("CDXLIX") == 449
    assert from_roman("MMMCMXCIX") == 3999


def test_from_roman_rejects_bad_order():
    with pytest.raises(ValueError, match="not a numeral: IIX"):
        from_roman("IIX")


def test_add_roman_carries():
    assert add_roman("IX", "IV") == "XIII"
    assert add_roman("XC", "XC") == "CLXXX"


def test_replace_digits_in_sentence():
    assert replace_digits("Henry 8 and Louis 14") == "Henry VIII and Louis XIV"


def test_replace_digits_keeps_long_numbers():
    assert replace_digits("In 1994, 0 of 999") == "In 1994, 0 of CMXCIX"
