import pytest
from duration import (
    add_durations,
    format_duration,
    is_duration,
    parse_duration,
    round_up,
)


def test_is_duration_accepts():
    assert is_duration("1h30m")
    assert is_duration("2d3h4m5s")


def test_is_duration_refuses():
    assert not is_duration("")
    assert not is_duration("30m1h")
    assert not is_duration("15")


def test_parse_duration_sums_units():
    assert parse_duration("1h30m") == 5400
    assert parse_duration("2d1s") == 172801


def test_parse_duration_bad_text():
    with pytest.raises(ValueError, match="not a duration: '1x'"):
        parse_duration("1x")


def test_format_duration_skips_empty_units():
    assert format_duration(5400) == "1h30m"
    assert format_duration(86401) == "1d1s"
    assert format_duration(60) == "1m"


def test_format_duration_zero():
    assert format_duration(0) == "0s"


def test_format_duration_separator():
    assert format_duration(93784, separator=" ") == "1d 2h 3m 4s"


def test_round_up_to_unit():
    assert round_up("1h1s", "h") == 7200
    assert round_up("2h", "h") == 7200
    assert round_up("90s", "m") == 120


def test_add_durations_carries():
    assert add_durations("45m", "30m15s") == "1h 15m 15s"


def test_add_durations_separator():
    assert add_durations("23h", "2h", separator="+") == "1d+1h"
