"""A server with what rollin asks of vLLM and SGLang, over a real tiny model: the same paths, fields and answers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollin.chat import state_ids
from rollin.messages import Message, offering
from rollin.models import load_model, load_tokenizer
from rollin.policies.base import Request, Sampling
from rollin.policies.local import LocalPolicy
from rollin.policies.ragged import ATTENTION


class EngineServer:
    """Serves one model; remembers which weights it was told to load."""

    def __init__(self, directory: Path, tokenizer: str | None = None, dev_mode: bool = True) -> None:
        self.tokenizer = load_tokenizer(tokenizer or str(directory))
        self.policy = LocalPolicy(load_model(str(directory), ATTENTION), self.tokenizer, slots=8, precision="float32")
        self.loaded: list[str] = []
        self.emptied = 0
        self._numbers = count()
        self.dev_mode = dev_mode
        self.empties = True
        """Whether its cache can be emptied."""

    async def complete(self, request: HttpRequest) -> Response:
        body = await request.json()
        sampling = Sampling(temperature=body["temperature"], top_p=body["top_p"], max_tokens=body["max_tokens"])
        asked = Request(body["messages"], str(next(self._numbers)), 0, body.get("seed", 0), sampling)
        action = await self.policy.act(asked)
        self.policy.forget(asked.trajectory)
        said = zip(action.token_ids or [], action.logprobs or [], strict=True)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": action.content},
            "finish_reason": action.finish_reason,
        }
        if body.get("return_token_ids"):
            choice["token_ids"] = action.token_ids
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [{"token": self.tokenizer.decode([t]), "logprob": p} for t, p in said]}
        usage = {"prompt_tokens": action.prompt_tokens, "completion_tokens": action.completion_tokens}
        return JSONResponse({"choices": [choice], "usage": usage})

    async def prompt_logprobs(self, request: HttpRequest) -> Response:
        """vLLM's: for each token of the prompt, a table with it and perhaps likelier ones; none for the first."""
        body = await request.json()
        assert (body["prompt_logprobs"], body["max_tokens"]) == (0, 1)
        tokens = body["prompt"]
        found = [None] + [
            {str(token): {"logprob": p, "rank": 1, "decoded_token": ""}}
            for token, p in zip(tokens[1:], self._log_p(tokens), strict=True)
        ]
        return JSONResponse({"choices": [{"index": 0, "text": "", "prompt_logprobs": found}]})

    async def generate(self, request: HttpRequest) -> Response:
        """SGLang's: from `logprob_start_len` on; the token there has none."""
        body = await request.json()
        tokens, start = body["input_ids"], body["logprob_start_len"]
        found = [None, *self._log_p(tokens)[start:]]
        table = [[p, token, None] for p, token in zip(found, tokens[start:], strict=True)]
        return JSONResponse({"text": "", "meta_info": {"input_token_logprobs": table}})

    async def tokenize(self, request: HttpRequest) -> Response:
        body = await request.json()
        if "prompt" in body:
            return JSONResponse({"tokens": self.tokenizer.encode(body["prompt"], add_special_tokens=False)})
        tools: list[Message] = [offering(body["tools"])] if body.get("tools") else []
        return JSONResponse({"tokens": state_ids(self.tokenizer, [*tools, *body["messages"]])})

    async def collective_rpc(self, request: HttpRequest) -> Response:
        body = await request.json()
        assert body["method"] == "reload_weights"
        self._load(body["kwargs"]["weights_path"])
        return JSONResponse({"results": [None]})

    async def reset_prefix_cache(self, request: HttpRequest) -> Response:
        self.emptied += 1
        return JSONResponse({"success": self.empties})

    async def update_weights_from_disk(self, request: HttpRequest) -> Response:
        self._load((await request.json())["model_path"])
        return JSONResponse({"success": True, "message": "Succeeded to update model weights."})

    def _load(self, path: str) -> None:
        self.policy.model.load_state_dict(load_model(path, ATTENTION).state_dict())
        with torch.inference_mode():
            self.policy.reset()
        self.loaded.append(path)

    def _log_p(self, tokens: list[int]) -> list[float]:
        with torch.inference_mode():
            logits = self.policy.model(torch.tensor([tokens])).logits[0, :-1]
        return logits.log_softmax(-1).gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()  # type: ignore[no-any-return]

    @contextmanager
    def listening(self, port: int = 0) -> Iterator[str]:
        """Its base URL, while it serves, at a port of its own or at one that it had before."""
        routes = {
            "/v1/chat/completions": self.complete,
            "/v1/completions": self.prompt_logprobs,
            "/generate": self.generate,
            "/tokenize": self.tokenize,
            "/update_weights_from_disk": self.update_weights_from_disk,
        }
        if self.dev_mode:
            routes |= {"/collective_rpc": self.collective_rpc, "/reset_prefix_cache": self.reset_prefix_cache}
        app = Starlette(routes=[Route(path, answer, methods=["POST"]) for path, answer in routes.items()])
        listening = socket.create_server(("127.0.0.1", port))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            running.should_exit = True
            thread.join()
