from polynom import degree, derivative, plus, times, value_at


def test_plus():
    assert plus([1, 2], [3, 4, 5]) == [4, 6, 5]


def test_plus_cancels_high_terms():
    assert plus([1, 2, 3], [1, -2, -3]) == [2]
    assert plus([4], [-4]) == [0]


def test_times():
    assert times([1, 2], [3, 0, 5]) == [3, 6, 5, 10]


def test_times_zero():
    assert times([0], [7, 8]) == [0]


def test_value_at():
    assert value_at([5, -3, 2], 4) == 25
    assert value_at([], 9) == 0


def test_value_at_zero():
    assert value_at([7, 8, 9], 0) == 7


def test_derivative():
    assert derivative([9, 4, 3, 2]) == [4, 6, 6]


def test_derivative_constant():
    assert derivative([5]) == [0]


def test_degree():
    assert degree([1, 0, 6]) == 2
    assert degree([0, 3, 0, 0]) == 1


def test_degree_zero():
    assert degree([0, 0]) == 0
