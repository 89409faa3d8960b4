"""Commands wait for a seat where others compute, and for nobody who sleeps."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from rollin.sandboxes.base import LOOK, seated

SEATS = 2 * (os.cpu_count() or 1)


@pytest.fixture
def everyone(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    """All seats are taken; closing gives them back. Until a test says otherwise the processors are idle."""
    processors_idle(monkeypatch, 1.0)
    with ExitStack() as stack:
        for _ in range(SEATS):
            stack.enter_context(seated())
        yield stack


def processors_idle(monkeypatch: pytest.MonkeyPatch, how_many: float) -> None:
    times = SimpleNamespace(cpu_times=lambda: SimpleNamespace(idle=how_many * time.monotonic()))
    monkeypatch.setattr("rollin.sandboxes.base.psutil", times)


def test_who_finds_others_asleep_stands(everyone: ExitStack) -> None:
    begun = time.monotonic()
    with seated(), seated():  # and takes nobody's seat along
        assert time.monotonic() - begun < 8 * LOOK


def test_who_finds_others_at_work_waits_for_a_seat(everyone: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    processors_idle(monkeypatch, 0.1)
    sat = threading.Event()

    def work() -> None:
        with seated():
            sat.set()

    worker = threading.Thread(target=work)
    worker.start()
    assert not sat.wait(4 * LOOK)
    everyone.close()
    assert sat.wait(5.0)
    worker.join()


def test_a_seat_is_given_back_after_a_fault() -> None:
    for _ in range(2 * SEATS):
        with pytest.raises(ZeroDivisionError), seated():
            raise ZeroDivisionError
    begun = time.monotonic()
    with seated():
        assert time.monotonic() - begun < LOOK / 2
