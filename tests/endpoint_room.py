"""What tests of a policy behind a URL share: a server that answers as it is told, and questions to it."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

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
