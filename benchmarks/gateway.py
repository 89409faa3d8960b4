"""What the gateway adds to a call: many trajectories at once, histories that grow, every turn recorded, labels beside.

python benchmarks/gateway.py [turns] [rounds] [trajectories]: 30, 3 and 16, if left out

Three ways to the same fixed action, which takes 100 ms to come: straight to an upstream server; through the gateway
to that server; through the gateway to a policy in its process. The clients, the upstream and the gateway are a
process each. Between two calls a client waits as long as a command takes, up to a second. The ways take turns, round
by round, so that what else the machine does falls on all of them.
"""

import asyncio
import json
import multiprocessing
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.pool import Pool
from pathlib import Path

import aiohttp
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollin.gateway import Gateway, SessionSpec
from rollin.mixture import Actor, Constant, TurnMixture
from rollin.policies.base import Action, Policy
from rollin.policies.base import Request as PolicyRequest
from rollin.policies.endpoint import EndpointPolicy
from rollin.store import Purpose, Store
from rollin.tasks.schema import Task

TRAJECTORIES = int(sys.argv[3]) if len(sys.argv) > 3 else 16
BAR_MS, P99_BAR_MS = 3.0, 20.0
ACTION = "I look at the tests.\n```bash\npython -m pytest -q\n```"
UPSTREAM_SECONDS = 0.1
COMMAND_SECONDS = 1.0
OBSERVATION = "tests/test_module.py .F.. [ 50%]\n" * 30
"""1 kB, which makes a history of 60 kB in 50 turns."""
TASK = Task.bare("bench")


def upstream(port: int, seconds: float) -> None:
    """A server that answers every call alike, after so many seconds."""
    message = {"role": "assistant", "content": ACTION}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    async def complete(request: Request) -> Response:
        await request.json()
        await asyncio.sleep(seconds)
        return JSONResponse(answer)

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    # Otherwise the body waits for the headers' acknowledgement on connections in quick use: 40 ms, on the gateway's
    # pooled ones alone.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listening])


class Constantly:
    """The same, as a policy in the gateway's process."""

    name = "constantly"

    async def act(self, request: PolicyRequest) -> Action:
        await asyncio.sleep(UPSTREAM_SECONDS)
        return Action(ACTION)

    def forget(self, trajectory: str) -> None: ...

    async def close(self) -> None: ...


def clients(url: str, keys: list[str], turns: int) -> list[float]:
    """The latency of every call, in milliseconds, warm-up left out. Runs in a process of its own."""
    return [ms for trajectory in asyncio.run(_converse_all(url, keys, turns)) for ms in trajectory[3:]]


async def _converse_all(url: str, keys: list[str], turns: int) -> list[list[float]]:
    # aiohttp: a client that takes less CPU than what it measures.
    async with aiohttp.ClientSession(raise_for_status=True) as client:
        return await asyncio.gather(*(_converse(client, url, key, turns) for key in keys))


async def _converse(client: aiohttp.ClientSession, url: str, key: str, turns: int) -> list[float]:
    messages = [{"role": "system", "content": "You repair."}, {"role": "user", "content": f"Task {key}. " * 50}]
    times = []
    for turn in range(turns):
        body = json.dumps({"model": "m", "messages": messages})
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        started = time.perf_counter()
        async with client.post(f"{url}/chat/completions", data=body, headers=headers) as answer:
            text = await answer.read()
        times.append((time.perf_counter() - started) * 1000)
        action = json.loads(text)["choices"][0]["message"]["content"]
        messages.append({"role": "assistant", "content": action})
        messages.append({"role": "user", "content": f"{OBSERVATION}{turn}"})
        await asyncio.sleep(random.uniform(0, COMMAND_SECONDS))
    return times


@contextmanager
def running_upstream(seconds: float = UPSTREAM_SECONDS) -> Iterator[str]:
    port = 18231
    process = multiprocessing.get_context("spawn").Process(target=upstream, args=(port, seconds))
    process.start()
    url = f"http://127.0.0.1:{port}/v1"
    for _ in range(200):
        try:
            httpx.get(url)
            break
        except httpx.TransportError:
            time.sleep(0.1)
    yield url
    process.terminate()
    process.join()


def straight(pool: Pool, url: str, turns: int) -> tuple[list[float], float]:
    """(latencies, 0: there is no gateway)."""
    return pool.apply(clients, (url, [str(k) for k in range(TRAJECTORIES)], turns)), 0.0


def through_gateway(pool: Pool, policy: Policy, turns: int) -> tuple[list[float], float]:
    """(latencies, CPU milliseconds of the gateway's process for each call)."""
    with tempfile.TemporaryDirectory() as folder, Store.create(Path(folder) / "run.db", {}) as store:
        store.add_tasks([TASK])
        with Gateway(store) as gateway:
            keys = [gateway.open_session(spec(store, policy, attempt)) for attempt in range(TRAJECTORIES)]
            cpu = time.process_time()
            times = pool.apply(clients, (gateway.url, keys, turns))
            cpu = time.process_time() - cpu
            gateway.await_labels()
            gateway.run(policy.close())
        assert sum(len(store.turns(row.id)) for row in store.trajectories()) == TRAJECTORIES * turns
    return times, cpu * 1000 / (TRAJECTORIES * turns)


def spec(store: Store, policy: Policy, attempt: int) -> SessionSpec:
    """A trajectory in which this policy acts and labels, by turns as either."""
    row = store.open_trajectory(
        TASK.instance_id, iteration=1, attempt=attempt, purpose=Purpose.COLLECT, policy="bench", seed=0
    )
    half = TurnMixture(beta=Constant(value=0.5))
    return SessionSpec(row, TASK, half, dict.fromkeys(Actor, policy), labeller=policy)


def measure(turns: int, rounds: int) -> dict[str, tuple[list[float], float]]:
    """Way -> (latencies, CPU milliseconds a call) over all rounds."""
    results: dict[str, tuple[list[float], float]] = {}
    with multiprocessing.get_context("spawn").Pool(1) as pool, running_upstream() as url:
        ways: dict[str, Callable[[], tuple[list[float], float]]] = {
            "straight to the upstream": lambda: straight(pool, url, turns),
            "gateway -> upstream": lambda: through_gateway(pool, EndpointPolicy(url, "m"), turns),
            "gateway -> policy in process": lambda: through_gateway(pool, Constantly(), turns),
        }
        for number in range(1, rounds + 1):
            for name, way in ways.items():
                times, cpu = way()
                print(f"round {number} of {rounds}: {name}: {statistics.median(times):.1f} ms", flush=True)
                before, cpu_before = results.get(name, ([], 0.0))
                results[name] = (before + times, cpu_before + cpu / rounds)
    return results


def main() -> None:
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    results = measure(turns, rounds)
    print(f"{TRAJECTORIES} trajectories x {turns} turns x {rounds}; histories to {turns} kB; half of them labelled")
    print(f"{'way':30} {'median ms':>10} {'p99 ms':>8} {'added ms':>9} {'CPU ms/turn':>12}")
    quantiles = {name: statistics.quantiles(times, n=100) for name, (times, _) in results.items()}
    base, through = quantiles["straight to the upstream"], quantiles["gateway -> upstream"]
    for name, (_, cpu) in results.items():
        median, p99 = quantiles[name][49], quantiles[name][98]
        print(f"{name:30} {median:10.1f} {p99:8.1f} {median - base[49]:9.1f} {cpu:12.1f}")
    for what, place, bar in (("at the median", 49, BAR_MS), ("at the 99th percentile", 98, P99_BAR_MS)):
        added = through[place] - base[place]
        print(f"the gateway adds {added:.1f} ms {what}; bar {bar:.0f} ms: {'held' if added < bar else 'MISSED'}")


if __name__ == "__main__":
    main()
