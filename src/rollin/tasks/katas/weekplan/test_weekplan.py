import pytest
from weekplan import WeekPlan


def test_is_free_within_opening():
    plan = WeekPlan()
    assert plan.is_free("mon", 9, 17)
    assert not plan.is_free("mon", 8, 10)
    assert not plan.is_free("mon", 16, 18)


def test_is_free_around_appointment():
    plan = WeekPlan()
    plan.book("mon", 11, 13)
    assert plan.is_free("mon", 10, 11) and plan.is_free("mon", 13, 14)
    assert not plan.is_free("mon", 10, 12) and not plan.is_free("mon", 12, 14)


def test_is_free_on_other_day():
    plan = WeekPlan(opening=6, closing=8)
    plan.book("tue", 6, 8)
    assert plan.is_free("wed", 6, 8) and not plan.is_free("tue", 7, 8)


def test_book_refuses_taken_hours():
    plan = WeekPlan()
    plan.book("fri", 9, 10)
    with pytest.raises(ValueError, match="fri 9-11 is not free"):
        plan.book("fri", 9, 11)


def test_book_default_title():
    plan = WeekPlan()
    plan.book("fri", 9, 10)
    assert plan.entries["fri"] == [(9, 10, "busy")]


def test_titles_sorted_by_time():
    plan = WeekPlan()
    plan.book("mon", 14, 15, "review")
    plan.book("mon", 9, 10, "standup")
    assert plan.titles("mon") == ["standup", "review"]


def test_load_sums_hours():
    plan = WeekPlan()
    plan.book("mon", 9, 12)
    plan.book("mon", 13, 15)
    assert (plan.load("mon"), plan.load("sun")) == (5, 0)


def test_first_gap_between_appointments():
    plan = WeekPlan()
    plan.book("mon", 9, 11)
    plan.book("mon", 12, 15)
    assert [plan.first_gap("mon", hours) for hours in (1, 2, 3)] == [11, 15, None]


def test_first_gap_at_ends_of_day():
    plan = WeekPlan()
    assert plan.first_gap("tue", 8) == 9
    plan.book("tue", 9, 16)
    assert plan.first_gap("tue", 1) == 16
