import pytest

from summary import deviation, mean, middle_spread, modes, quantile


def test_mean():
    assert mean([2, 3, 10]) == 5


def test_mean_empty():
    with pytest.raises(ValueError, match="the sample is empty"):
        mean([])


def test_quantile_median():
    assert quantile([9, 1, 4]) == 4
    assert quantile([8, 2, 4, 1]) == 3


def test_quantile_share():
    assert quantile([10, 20, 30, 40], share=0.9) == pytest.approx(37)


def test_quantile_ends():
    assert quantile([7, 3, 5], share=0) == 3
    assert quantile([7, 3, 5], share=1) == 7


def test_modes():
    assert modes([3, 1, 3, 2, 1, 5]) == [1, 3]
    assert modes("hello") == ["l"]


def test_modes_empty():
    assert modes([]) == []


def test_deviation():
    assert deviation([2, 4, 4, 4, 5, 5, 7, 9]) == 2


def test_deviation_constant():
    assert deviation([6, 6]) == 0


def test_middle_spread():
    assert middle_spread([1, 2, 4, 8, 16]) == 6
