"""What tests of a policy behind a URL share: a server that answers as it is told, and questions to it."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollin.policies.base import Request, Sampling
from rollin.policies.endpoint import EndpointPolicy


def question(text: str = "hi", seed: int = 2**62 + 1, **sampling: float) -> Request:
    chosen = Sampling.model_validate({"max_tokens": 8} | sampling)
    return Request([{"role": "user", "content": text}], trajectory="1", turn=0, seed=seed, sampling=chosen)


def asking(policy: EndpointPolicy, *work: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
    """Await each in one event loop, then close the policy."""

    async def run() -> list[Any]:
        try:
            return [await step() for step in work]
        finally:
            await policy.close()

    return asyncio.run(run())


@contextmanager
def server(answer: Callable[[HttpRequest], Coroutine[Any, Any, Response]]) -> Iterator[str]:
    """A real HTTP server on a thread that answers every chat completion with `answer`."""
    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    listening = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=running.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:  # or a test that fails leaves the thread, and the tests never end
        running.should_exit = True
        thread.join()


def completion(content: str | None = "ls", **choice: object) -> dict[str, object]:
    message = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}


def error(status: int, message: str, code: str | None = None, param: str | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "type": "x", "param": param, "code": code}}, status)


@contextmanager
def transformers_serve(model: Path) -> Iterator[str]:
    """The base URL of a `transformers serve` with a checkpoint directory."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "transformers", "serve", str(model), "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryFile("w+") as log:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        running = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            _await_health(f"http://127.0.0.1:{port}/health", running, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            running.terminate()
            running.wait()


def _await_health(url: str, running: subprocess.Popen[bytes], log: IO[str]) -> None:
    for _ in range(600):
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
        if running.poll() is not None:
            log.seek(0)
            raise AssertionError(log.read())
    raise AssertionError("transformers serve did not start in a minute")
