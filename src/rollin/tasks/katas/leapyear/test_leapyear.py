from datetime import date

from leapyear import (
    add_years,
    day_of_year,
    days_in_month,
    is_leap,
    last_weekday,
    leap_years,
)


def test_is_leap_every_fourth():
    assert is_leap(2024)
    assert not is_leap(2023)
    assert not is_leap(2022)


def test_is_leap_centuries():
    assert is_leap(2000)
    assert not is_leap(1900)
    assert not is_leap(2200)


def test_days_in_month_february():
    assert days_in_month(2024, 2) == 29
    assert days_in_month(2023, 2) == 28


def test_days_in_month_whole_year():
    lengths = [days_in_month(2023, month) for month in range(1, 13)]
    assert lengths == [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def test_leap_years_includes_both_ends():
    assert leap_years(1896, 1908) == [1896, 1904, 1908]
    assert leap_years(2021, 2023) == []


def test_day_of_year_after_february():
    assert day_of_year(date(2024, 3, 1)) == 61
    assert day_of_year(date(2023, 3, 1)) == 60


def test_day_of_year_ends():
    assert day_of_year(date(2023, 1, 1)) == 1
    assert day_of_year(date(2024, 12, 31)) == 366


def test_last_weekday_friday():
    assert last_weekday(2024, 5) == date(2024, 5, 31)
    assert last_weekday(2024, 2) == date(2024, 2, 23)


def test_last_weekday_other():
    assert last_weekday(2024, 2, weekday=0) == date(2024, 2, 26)
    assert last_weekday(2024, 9, weekday=6) == date(2024, 9, 29)


def test_add_years_plain():
    assert add_years(date(2023, 7, 31), 2) == date(2025, 7, 31)
    assert add_years(date(2023, 7, 4), -3) == date(2020, 7, 4)


def test_add_years_leap_day():
    assert add_years(date(2024, 2, 29), 1) == date(2025, 2, 28)
    assert add_years(date(2024, 2, 29), 4) == date(2028, 2, 29)
