from vector import Vector


def test_minus():
    assert Vector(5, 3).minus(Vector(2, 7)) == Vector(3, -4)


def test_minus_default_upward():
    assert Vector(4).minus(Vector(1, 1)) == Vector(3, -1)


def test_scaled():
    assert Vector(1.5, -2).scaled(4) == Vector(6, -8)


def test_length():
    assert Vector(3, 4).length() == 5
    assert Vector(0).length() == 0


def test_heading():
    assert Vector(1, 1).heading() == 45
    assert Vector(0, -2).heading() == -90


def test_heading_digits():
    assert Vector(2, 1).heading() == 26.565
    assert Vector(2, 1).heading(digits=1) == 26.6


def test_turned():
    assert Vector(2, 1).turned(90) == Vector(-1, 2)
    assert Vector(1, 1).turned(60) == Vector(-0.366025, 1.366025)


def test_turned_digits():
    assert Vector(1, 1).turned(60, digits=2) == Vector(-0.37, 1.37)


def test_turned_has_no_negative_zero():
    assert str(Vector(1).turned(-180).upward) == "0.0"
