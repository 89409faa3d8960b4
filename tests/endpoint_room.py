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
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(model), "--device", "cpu"]
    with _serving(command, {}, free_port()) as url:
        yield url


VLLM = Path(os.environ.get("VLLM_PYTHON", Path(__file__).parents[1] / ".venv-vllm" / "bin" / "python"))
"""The Python that has vLLM, in an environment of its own: `make vllm` makes one for processors."""


@contextmanager
def vllm_serve(model: Path, *options: str, port: int | None = None) -> Iterator[str]:
    """The base URL of a vLLM with a checkpoint directory, which it calls `student`; at a port that is free, or this."""
    command = [str(VLLM), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", "student", "--max-model-len", "8192", "--logprobs-mode", "processed_logprobs"]
    command += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--enforce-eager", *options]
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"]  # see docs/scale-out.md
    environment = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "2"}
    openmp = VLLM.parents[1] / "lib" / "libiomp5.so"
    if openmp.exists():  # vLLM on a processor wants Intel's
        environment["LD_PRELOAD"] = str(openmp)
    with _serving(command, environment, port or free_port()) as url:
        yield url


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def _serving(command: list[str], environment: dict[str, str], port: int) -> Iterator[str]:
    command = [*command, "--host", "127.0.0.1", "--port", str(port)]
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    with tempfile.TemporaryFile("w+") as log:
        environment = {**outside, "HF_HUB_OFFLINE": "1", **environment}
        running = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            _await_health(f"http://127.0.0.1:{port}/health", running, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            running.terminate()
            running.wait()


def _await_health(url: str, running: subprocess.Popen[bytes], log: IO[str]) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
        if running.poll() is not None:
            log.seek(0)
            raise AssertionError(log.read())
    raise AssertionError("the server did not start in five minutes")
