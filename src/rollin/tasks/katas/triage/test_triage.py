import pytest

from triage import Triage


def filled_room():
    room = Triage()
    for patient, urgency in [("ben", 5), ("ana", 2), ("dora", 3), ("cleo", 2)]:
        room.admit(patient, urgency=urgency)
    return room


def test_admit():
    room = Triage()
    assert [room.admit("ana"), room.admit("ben", 4)] == [1, 2]
    assert room.call_next() == "ben"


def test_admit_default_urgency():
    room = filled_room()
    room.admit("emil")
    assert room.waiting(urgency=1) - room.waiting(urgency=2) == 1


def test_call_next():
    room = filled_room()
    assert [room.call_next() for _ in range(4)] == ["ben", "dora", "ana", "cleo"]


def test_call_next_empty():
    with pytest.raises(LookupError, match="nobody is waiting"):
        Triage().call_next()


def test_foremost():
    room = filled_room()
    assert room.foremost() == ["ben", "dora", "ana"]
    assert room.waiting() == 4


def test_foremost_limit():
    assert filled_room().foremost(limit=1) == ["ben"]


def test_waiting():
    assert filled_room().waiting(urgency=3) == 2
    assert filled_room().waiting(urgency=6) == 0


def test_waiting_default():
    room = filled_room()
    room.admit("emil", urgency=0)
    room.admit("fay", urgency=-1)
    assert room.waiting() == 5


def test_withdraw():
    room = filled_room()
    assert room.withdraw("ben") == 1
    assert [room.call_next() for _ in range(3)] == ["dora", "ana", "cleo"]


def test_withdraw_unknown():
    assert filled_room().withdraw("zoe") == 0
