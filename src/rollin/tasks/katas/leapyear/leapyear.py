"""Leap years and the lengths of months."""

from datetime import date, timedelta


def is_leap(year):
    """Tell whether a year has a 29th of February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year, month):
    """Count the days of a month."""
    if month == 2:
        return 29 if is_leap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def leap_years(first, last):
    """List the leap years from the first year up to and with the last."""
    return [year for year in range(first, last + 1) if is_leap(year)]


def day_of_year(moment):
    """Number a date within its year, from 1."""
    year = moment.year
    earlier = [days_in_month(year, month) for month in range(1, moment.month)]
    return sum(earlier) + moment.day


def last_weekday(year, month, weekday=4):
    """Find the last date in a month on a weekday; Monday is 0, Friday is 4."""
    final = date(year, month, days_in_month(year, month))
    surplus = (final.weekday() - weekday) % 7
    return final - timedelta(days=surplus)


def add_years(moment, years):
    """Move a date by whole years, back to the 28th from a missing 29th."""
    year, month = moment.year + years, moment.month
    length = days_in_month(year, month)
    return date(year, month, min(moment.day, length))
