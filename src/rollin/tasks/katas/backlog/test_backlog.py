from backlog import Backlog


def test_put_until_full():
    jobs = Backlog()
    assert [jobs.put(item) for item in "abcde"] == [True] * 4 + [False]
    assert list(jobs.items) == ["a", "b", "c", "d"]


def test_put_drops_oldest():
    jobs = Backlog(capacity=2, policy="drop")
    assert [jobs.put(item) for item in "abc"] == [True, True, True]
    assert list(jobs.items) == ["b", "c"]


def test_take():
    jobs = Backlog()
    jobs.put("first")
    jobs.put("second")
    assert [jobs.take(), jobs.take()] == ["first", "second"]


def test_take_empty():
    assert Backlog().take() is None
    assert Backlog().take(default="none left") == "none left"


def test_crowded():
    jobs = Backlog()
    levels = [jobs.put(item) and jobs.crowded() for item in "abcd"]
    assert levels == [False, False, True, True]


def test_crowded_share():
    jobs = Backlog(capacity=10, warn_share=0.1)
    assert not jobs.crowded()
    jobs.put("one")
    assert jobs.crowded()


def test_room():
    jobs = Backlog()
    jobs.put("one")
    assert jobs.room() == 3
    assert Backlog(capacity=9).room() == 9
