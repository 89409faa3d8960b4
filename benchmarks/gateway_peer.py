"""Calls a second through the gateway and through LiteLLM's proxy, to the same upstream that answers at once.

    python -m venv peer && peer/bin/pip install 'litellm[proxy]'
    python benchmarks/gateway_peer.py peer/bin/litellm [rounds] [clients]: 3 and 16, if left out

Each client goes on with a conversation without waiting, 20 turns of 1 kB, then begins another. The gateway checks a
key, records every turn and asks for no label; the proxy checks a key and records nothing. Clients, upstream and either
server are a process each, and they take turns, round by round.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import aiohttp
import httpx
from gateway import ACTION, OBSERVATION, TASK, running_upstream, spec

from rollin.gateway import Gateway
from rollin.policies.endpoint import EndpointPolicy
from rollin.store import Store

TURNS = 20
SECONDS = 15.0
WARM_UP = 3.0
BAR = 5.0
PORT = 18232
KEY = "sk-bench"


def calls_a_second(url: str, keys: list[str]) -> float:
    """Of one client for each key, over SECONDS, after WARM_UP. Runs in a process of its own."""
    return asyncio.run(_hurry(url, keys))


async def _hurry(url: str, keys: list[str]) -> float:
    begin = time.perf_counter() + WARM_UP
    end = begin + SECONDS
    done = 0

    async def go_on(client: aiohttp.ClientSession, number: int, key: str) -> None:
        nonlocal done
        conversation = 0
        while time.perf_counter() < end:
            conversation += 1
            messages = [{"role": "user", "content": f"Task {number}, {conversation}. " * 20}]
            for turn in range(TURNS):
                headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
                body = json.dumps({"model": "m", "messages": messages})
                async with client.post(f"{url}/chat/completions", data=body, headers=headers) as answer:
                    action = json.loads(await answer.read())["choices"][0]["message"]["content"]
                assert action == ACTION
                done += begin < time.perf_counter() < end
                messages += [{"role": "assistant", "content": action}, {"role": "user", "content": OBSERVATION}]
                messages[-1]["content"] += str(turn)

    async with aiohttp.ClientSession(raise_for_status=True) as client:
        await asyncio.gather(*(go_on(client, number, key) for number, key in enumerate(keys)))
    return done / SECONDS


@contextmanager
def ours(upstream: str, clients: int) -> Iterator[tuple[str, list[str]]]:
    """(URL, keys) of the gateway."""
    with tempfile.TemporaryDirectory() as folder, Store.create(Path(folder) / "run.db", {}) as store:
        store.add_tasks([TASK])
        policy = EndpointPolicy(upstream, "m")
        with Gateway(store) as gateway:
            specs = [replace(spec(store, policy, attempt), labeller=None) for attempt in range(clients)]
            yield gateway.url, [*map(gateway.open_session, specs)]
            gateway.run(policy.close())


@contextmanager
def theirs(program: str, upstream: str, clients: int) -> Iterator[tuple[str, list[str]]]:
    """(URL, keys) of LiteLLM's proxy, with one worker."""
    settings = {
        "model_list": [
            {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": upstream, "api_key": "none"}}
        ],
        "general_settings": {"master_key": KEY},
    }
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(json.dumps(settings))
        command = [program, "--config", str(config), "--port", str(PORT), "--host", "127.0.0.1", "--num_workers", "1"]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | quiet, cwd=folder)
        try:
            _await(f"http://127.0.0.1:{PORT}/health/liveliness", process, Path(folder) / "log")
            yield f"http://127.0.0.1:{PORT}/v1", [KEY] * clients
        finally:
            process.terminate()
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit(f"LiteLLM's proxy did not start: {log.read_text()[-500:]}")
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("LiteLLM's proxy did not answer within a minute")


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    program = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    clients = int(sys.argv[3]) if len(sys.argv) > 3 else 16
    rates: dict[str, list[float]] = {"gateway": [], "LiteLLM's proxy": []}
    with get_context("spawn").Pool(1) as pool, running_upstream(0.0) as upstream:
        for number in range(1, rounds + 1):
            for name, server in (
                ("gateway", ours(upstream, clients)),
                ("LiteLLM's proxy", theirs(program, upstream, clients)),
            ):
                with server as (url, keys):
                    rates[name].append(pool.apply(calls_a_second, (url, keys)))
                print(f"round {number} of {rounds}: {name}: {rates[name][-1]:.0f} calls/s", flush=True)
    ratio = statistics.median(rates["gateway"]) / statistics.median(rates["LiteLLM's proxy"])
    print(f"{clients} clients, histories to {TURNS} kB; medians of {rounds}")
    print(f"the gateway answers {ratio:.1f} times as many calls; bar {BAR:.0f}: {'held' if ratio >= BAR else 'MISSED'}")


if __name__ == "__main__":
    main()
