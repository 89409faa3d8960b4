"""One model behind several URLs: real servers that come and go."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest
from endpoint_room import completion, error, question, server
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from rollin.errors import InfrastructureFault, Refused
from rollin.policies.base import Request
from rollin.policies.endpoint import RETRIES, EndpointPolicy
from rollin.policies.pool import Pool


class Servers:
    """So many of them; each says its number, unless it is down."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        self.down: set[int] = set()
        self.refusing = False
        self.busy = 0
        """How many more calls are answered with `come back in a second`."""
        self.asked: Counter[int] = Counter()
        self.urls = [stack.enter_context(server(self.answer(number))) for number in range(count)]

    def answer(self, number: int):  # type: ignore[no-untyped-def]
        async def answer(request: HttpRequest) -> Response:
            self.asked[number] += 1
            if self.busy:
                self.busy -= 1
                return Response("busy", 429, {"Retry-After": "1"})
            if self.refusing:
                return error(400, "no json_schema here")
            return error(500, "down") if number in self.down else JSONResponse(completion(str(number)))

        return answer

    def pool(self, rest: float = 60.0, rounds: int = 1) -> Pool:
        return Pool([EndpointPolicy(url, "m", retries=0) for url in self.urls], rest=rest, rounds=rounds)


async def say(pool: Pool, trajectory: str) -> int:
    request = question()
    return int((await pool.act(Request(request.messages, trajectory, 0, 0, request.sampling))).content)


def run(count: int, work: Callable[[Servers], Coroutine[Any, Any, None]]) -> None:
    """Servers, and work with them."""
    with ExitStack() as stack:
        asyncio.run(work(Servers(stack, count)))


def test_trajectories_are_spread_and_stay() -> None:
    async def work(servers: Servers) -> None:
        pool = servers.pool()
        first = {name: await say(pool, name) for name in "abcdef"}
        assert Counter(first.values()) == {0: 2, 1: 2, 2: 2}
        assert {name: await say(pool, name) for name in "fedcba"} == first
        await pool.close()

    run(3, work)


def test_a_server_that_fails_rests_and_comes_back() -> None:
    async def work(servers: Servers) -> None:
        pool = servers.pool(rest=0.3)
        homes = {name: await say(pool, name) for name in "ab"}
        servers.down = {homes["a"]}
        assert await say(pool, "a") == homes["b"]
        asked = servers.asked[homes["a"]]
        assert [await say(pool, name) for name in "acd"] == [homes["b"]] * 3
        assert servers.asked[homes["a"]] == asked, "it was asked while it rested"
        servers.down = set()
        await asyncio.sleep(0.4)
        assert {await say(pool, name) for name in "efgh"} == {0, 1}
        assert await say(pool, "a") == homes["b"], "it moved back"
        await pool.close()

    run(2, work)


def test_all_are_tried_again_before_a_request_fails() -> None:
    async def work(servers: Servers) -> None:
        servers.down = {0, 1}
        pool = servers.pool(rounds=2)
        with pytest.raises(InfrastructureFault, match="500"):
            await say(pool, "a")
        assert servers.asked == {0: 2, 1: 2}
        with pytest.raises(InfrastructureFault, match="500"):
            await pool.check()
        await pool.close()

    run(2, work)


def test_what_is_refused_is_said_at_once_and_no_server_rests() -> None:
    async def work(servers: Servers) -> None:
        pool = servers.pool(rounds=2)
        homes = {name: await say(pool, name) for name in "ab"}
        servers.refusing = True
        with pytest.raises(Refused, match="no json_schema here"):
            await say(pool, "a")
        assert servers.asked.total() == 3, "another server or another try would not help"
        servers.refusing = False
        assert {name: await say(pool, name) for name in "ab"} == homes
        await pool.close()

    run(2, work)


def test_a_server_that_names_a_pause_is_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(servers: Servers) -> None:
        servers.busy = 2
        pool = servers.pool(rounds=2)
        began = time.monotonic()
        assert await say(pool, "a") in (0, 1)
        assert 1 <= time.monotonic() - began < 5
        await pool.close()

    run(2, work)


def test_a_pool_is_as_patient_as_one_server() -> None:
    assert Pool([EndpointPolicy("http://host/v1", "m")])._rounds == RETRIES + 1


def test_nothing_is_waited_for_after_the_last_try(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(servers: Servers) -> None:
        servers.down = {0}
        pool = servers.pool(rounds=1)
        began = time.monotonic()
        with pytest.raises(InfrastructureFault, match="500"):
            await say(pool, "a")
        assert time.monotonic() - began < 4
        await pool.close()

    monkeypatch.setattr("rollin.policies.endpoint.random.uniform", lambda low, high: 10.0)
    run(1, work)
