import pytest
from booking import Hall


def hall_with(*labels):
    hall = Hall(2, width=4)
    for label in labels:
        hall.book(label, "Ada")
    return hall


def test_free_in_an_empty_row():
    assert hall_with().free("A") == [1, 2, 3, 4]
    assert len(Hall(1).free("A")) == 10


def test_free_skips_booked_seats():
    hall = hall_with("A2", "B3")
    assert (hall.free("A"), hall.free("B")) == ([1, 3, 4], [1, 2, 4])


def test_book_refuses_a_second_guest():
    hall = hall_with()
    assert hall.book("B4", "Ada") is True
    assert hall.book("B4", "Bob") is False
    assert hall.taken == {"B4": "Ada"}


def test_book_rejects_unknown_seats():
    for label in ("A5", "C1", "A0", "4A"):
        with pytest.raises(ValueError, match=f"no such seat: {label}"):
            hall_with().book(label, "Ada")


def test_cancel_frees_only_the_seats_of_the_guest():
    hall = hall_with("B1", "A1")
    hall.book("A2", "Bob")
    assert hall.cancel("Ada") == ["A1", "B1"]
    assert hall.taken == {"A2": "Bob"}


def test_cancel_unknown_guest():
    assert hall_with("A1").cancel("Eve") == []


def test_block_at_the_front():
    assert hall_with().block() == ["A1", "A2"]
    assert hall_with("A1").block(size=3) == ["A2", "A3", "A4"]


def test_block_skips_gaps():
    assert hall_with("A2", "A4").block(size=2) == ["B1", "B2"]
    assert hall_with("A2").block(size=2) == ["A3", "A4"]


def test_block_may_not_fit():
    assert hall_with("A2", "B3").block(size=3) is None
