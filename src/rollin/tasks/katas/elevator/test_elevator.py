import pytest
from elevator import Elevator


def test_request_keeps_the_order():
    lift = Elevator(5)
    lift.request(3)
    lift.request(1)
    assert list(lift.pending) == [3, 1]


def test_request_urgent_goes_first():
    lift = Elevator(5)
    for floor, urgent in [(3, False), (1, False), (1, True), (0, True)]:
        lift.request(floor, urgent=urgent)
    assert list(lift.pending) == [0, 1, 3]


def test_request_accepts_the_top_floor_only():
    lift = Elevator(5)
    lift.request(4)
    with pytest.raises(ValueError):
        lift.request(5)


def test_request_rejects_a_basement():
    with pytest.raises(ValueError):
        Elevator(5).request(-1)


def test_state_idle_and_open():
    lift = Elevator(5)
    assert (lift.state(), lift.position) == ("idle", 0)
    lift.request(0)
    assert lift.state() == "open"


def test_state_up_and_down():
    lift = Elevator(5, start=2)
    lift.request(1)
    lift.request(3, urgent=True)
    assert (lift.state(), list(lift.pending)) == ("up", [3, 1])


def test_step_moves_up_then_opens():
    lift = Elevator(5, start=1)
    lift.request(2)
    assert (lift.step(), lift.state()) == (2, "open")
    assert (lift.step(), lift.state()) == (2, "idle")


def test_step_moves_down():
    lift = Elevator(5, start=4)
    lift.request(2)
    assert (lift.state(), lift.step(), lift.state()) == ("down", 3, "down")


def test_step_idle_stays():
    assert Elevator(5, start=3).step() == 3


def test_distance_adds_every_leg():
    lift = Elevator(9, start=2)
    lift.request(5)
    lift.request(1)
    assert lift.distance() == 7


def test_distance_without_requests():
    assert Elevator(5, start=3).distance() == 0
