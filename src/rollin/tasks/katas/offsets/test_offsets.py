import pytest
from offsets import convert_clock, format_offset, parse_offset, zone_offset


def test_parse_offset_signs():
    assert parse_offset("+05:30") == 330
    assert parse_offset("-03:30") == -210


def test_parse_offset_zero():
    assert parse_offset("Z") == 0
    assert parse_offset("+00:00") == 0


def test_parse_offset_bad_text():
    with pytest.raises(ValueError, match="not an offset: 5:30"):
        parse_offset("5:30")


def test_format_offset_signs():
    assert format_offset(330) == "+05:30"
    assert format_offset(-210) == "-03:30"


def test_format_offset_near_zero():
    assert format_offset(0) == "+00:00"
    assert format_offset(-1) == "-00:01"
    assert format_offset(60) == "+01:00"


def test_zone_offset_known():
    assert zone_offset("NZST") == 720
    assert zone_offset("PST") == -480


def test_zone_offset_unknown():
    with pytest.raises(KeyError):
        zone_offset("XYZ")


def test_convert_clock_to_utc():
    assert convert_clock("12:15", "IST") == ("06:45", 0)


def test_convert_clock_same_zone():
    assert convert_clock("23:59", "CET", target="CET") == ("23:59", 0)


def test_convert_clock_previous_day():
    assert convert_clock("00:30", "CET") == ("23:30", -1)


def test_convert_clock_next_day():
    assert convert_clock("20:00", "PST", target="NZST") == ("16:00", 1)
    assert convert_clock("23:00", "UTC", target="CET") == ("00:00", 1)
