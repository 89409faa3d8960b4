import pytest

from ringbuf import RingBuffer


def filled(readings, **options):
    ring = RingBuffer(**options)
    for reading in readings:
        ring.push(reading)
    return ring


def test_capacity_too_small():
    assert len(RingBuffer(capacity=1).slots) == 1
    with pytest.raises(ValueError, match="at least 1"):
        RingBuffer(capacity=0)


def test_push():
    ring = RingBuffer(capacity=2)
    assert [ring.push(reading) for reading in (5, 6, 7, 8)] == [None, None, 5, 6]


def test_ordered():
    assert filled([1, 2]).ordered() == [1, 2]
    assert filled([1, 2, 3, 4, 5]).ordered() == [3, 4, 5]


def test_ordered_exactly_full():
    assert filled([7, 8, 9]).ordered() == [7, 8, 9]


def test_latest():
    assert filled([1, 2, 3, 4]).latest() == [4]
    assert filled([1, 2, 3, 4]).latest(amount=2) == [4, 3]


def test_latest_more_than_stored():
    assert filled([1, 2]).latest(amount=9) == [2, 1]


def test_average():
    assert filled([1, 2, 6, 10]).average() == 6


def test_average_empty():
    assert RingBuffer().average() == 0
    assert RingBuffer().average(default=-1) == -1


def test_full():
    assert not filled([1, 2]).full
    assert filled([1, 2, 3]).full
    assert filled([1, 2, 3, 4]).full
