"""One model behind several URLs: real servers that come and go."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from test_endpoint import completion, error, question, server

from rollin.errors import InfrastructureFault, UserError
from rollin.policies.base import Request
from rollin.policies.endpoint import EndpointPolicy
from rollin.policies.pool import Pool


class Servers:
    """So many of them; each says its number, unless it is down."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        self.down: set[int] = set()
        self.asked: Counter[int] = Counter()
        self.urls = [stack.enter_context(server(self.answer(number))) for number in range(count)]

    def answer(self, number: int):  # type: ignore[no-untyped-def]
        async def answer(request: HttpRequest) -> Response:
            self.asked[number] += 1
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
        with pytest.raises(UserError, match="500"):
            await pool.check()
        await pool.close()

    run(2, work)
