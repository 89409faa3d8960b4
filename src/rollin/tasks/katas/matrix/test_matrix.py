import pytest

from matrix import determinant, identity, plus, times, transpose


def test_transpose():
    assert transpose([[1, 2, 3], [4, 5, 6]]) == [[1, 4], [2, 5], [3, 6]]


def test_transpose_ragged():
    with pytest.raises(ValueError):
        transpose([[1, 2], [3]])


def test_plus():
    assert plus([[1, 2], [3, 4]], [[10, 20], [30, 40]]) == [[11, 22], [33, 44]]


def test_plus_shapes_differ():
    with pytest.raises(ValueError):
        plus([[1, 2]], [[1, 2], [3, 4]])


def test_times():
    assert times([[1, 2], [3, 4]], [[5, 6], [7, 8]]) == [[19, 22], [43, 50]]


def test_times_wide_by_tall():
    assert times([[1, 2, 3]], [[4], [5], [6]]) == [[32]]


def test_times_inner_sizes_differ():
    with pytest.raises(ValueError):
        times([[1, 2, 3]], [[1], [2]])


def test_identity():
    assert identity(3) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_identity_value():
    assert identity(2, value=7) == [[7, 0], [0, 7]]


def test_determinant():
    assert determinant([[3, 8], [4, 6]]) == -14
    assert determinant([]) == 1


def test_determinant_three():
    assert determinant([[2, 0, 1], [1, 3, 2], [1, 1, 4]]) == 18
