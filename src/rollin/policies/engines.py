"""What vLLM and SGLang can do beyond OpenAI's API: take new weights, and say how likely tokens of another's are.

    vLLM      POST /collective_rpc {"method": "reload_weights", "kwargs": {"weights_path": ...}}, /reset_prefix_cache
              (both want VLLM_SERVER_DEV_MODE=1), and `prompt_logprobs` of /v1/completions
    SGLang    POST /update_weights_from_disk {"model_path": ...}, and `return_logprob` of /generate

By their documentation and source (vLLM 0.33, SGLang 0.5.23). Run against vLLM itself, 0.25 on a GPU and 0.32 on a CPU
(`make test-vllm`); SGLang by a server of the tests' own that speaks as it does.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rollin.errors import InfrastructureFault, UserError
from rollin.messages import Message, ToolCall, offered, offering
from rollin.policies.endpoint import EndpointPolicy, Post

if TYPE_CHECKING:  # recipes are read without it
    from transformers import PreTrainedTokenizerBase

EngineName = Literal["vllm", "sglang"]
AT_ONCE = 16
"""Sequences that are scored at once, by each server."""
PROBE = "def naïve(x):\n\treturn '→' + str(x)  # 1234567 <|im_start|>"
"""Two tokenizers that cut this alike are taken for the same."""
CALL: ToolCall = {"id": "call_0_0", "type": "function", "function": {"name": "look", "arguments": '{"at": "naïve"}'}}
NOTHING: dict[str, object] = {"type": "object", "properties": {}}
CHAT: list[Message] = [
    offering([{"type": "function", "function": {"name": "look", "description": "See.", "parameters": NOTHING}}]),
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is there?"},
    {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
    {"role": "tool", "content": "nothing", "tool_call_id": CALL["id"]},
]
"""Two chat templates that write this alike are taken for the same; its words alone tell where no tools are offered."""


@dataclass(frozen=True)
class Engines:
    """One server, or several of the same model."""

    name: EngineName
    urls: Sequence[str]
    """Base URLs, such as http://host:8000/v1."""
    model: str
    api_key_env: str

    def load(self, weights: Path) -> None:
        """Let every server act with the weights of a checkpoint directory, which it has to see under the same path.
        InfrastructureFault where one doesn't: with servers that differ there is nothing to go on with."""
        asyncio.run(self._at_all(lambda server: self.load_at(server.base_url, server.call, weights)))

    async def load_at(self, url: str, post: Post, weights: Path) -> None:
        """Let one server act with them. InfrastructureFault where it keeps something of others."""
        await _LOAD[self.name](url, post, weights.resolve())

    def score(self, sequences: Sequence[tuple[list[int], int]]) -> list[list[float]]:
        """For each (tokens, number of the first that counts), the log-probability of each token from there on, given
        those before it. InfrastructureFault where a server doesn't answer in the end."""
        return asyncio.run(self._score(sequences))

    def check_tokens(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """UserError where a server's tokenizer cuts text otherwise, or it doesn't say how."""
        ours = tokenizer.encode(PROBE, add_special_tokens=False)

        async def same(server: EndpointPolicy) -> None:
            body = {"model": self.model, "prompt": PROBE, "add_special_tokens": False}
            answer = await server.call("/tokenize", body)
            if not isinstance(answer, dict) or answer.get("tokens") != ours:
                raise UserError(
                    f"{server.base_url} has another tokenizer than the student, and they are to be compared token by"
                    " token; use a teacher that shares the student's"
                )

        try:
            asyncio.run(self._at_all(same))
        except InfrastructureFault as fault:
            raise UserError(f"{fault}; check that it is {self.name} that serves there") from fault

    def check_chat(self, tokens_of: Callable[[Sequence[Message]], list[int]], checkpoint: Path) -> None:
        """UserError where a server shows its model chats, or tools, otherwise than they are to be: as `tokens_of` them,
        by the checkpoint's template. SGLang can't be asked."""
        if self.name != "vllm":
            return

        async def alike(server: EndpointPolicy) -> None:
            for messages in (CHAT[1:3], CHAT):
                tools, said = offered(messages)
                asked = {"model": self.model, "messages": said, "add_special_tokens": False}
                answer = await server.call("/tokenize", asked | ({"tools": tools} if tools else {}))
                if not isinstance(answer, dict) or answer.get("tokens") != tokens_of(messages):
                    raise UserError(
                        f"{server.base_url} writes {'tools' if tools else 'chats'} otherwise than the student's chat"
                        f" template; start it with --chat-template {checkpoint / 'chat_template.jinja'}"
                    )

        asyncio.run(self._at_all(alike))

    async def _at_all(self, do: Callable[[EndpointPolicy], Coroutine[Any, Any, None]]) -> None:
        servers = self._servers()
        try:
            await asyncio.gather(*(do(server) for server in servers))
        finally:
            for server in servers:
                await server.close()

    async def _score(self, sequences: Sequence[tuple[list[int], int]]) -> list[list[float]]:
        servers = self._servers()
        slots = [asyncio.Semaphore(AT_ONCE) for _ in servers]

        async def one(number: int, tokens: list[int], first: int) -> list[float]:
            place = number % len(servers)
            async with slots[place]:
                try:
                    found = await _SCORE[self.name](servers[place], tokens, first)
                except (LookupError, TypeError, ValueError) as error:
                    raise self._odd(servers[place]) from error
            if len(found) != len(tokens) - first:
                raise self._odd(servers[place])
            return found

        try:
            return await asyncio.gather(*(one(number, *each) for number, each in enumerate(sequences)))
        finally:
            for server in servers:
                await server.close()

    def _odd(self, server: EndpointPolicy) -> InfrastructureFault:
        return InfrastructureFault(f"{server.base_url} did not give each token's log-probability as {self.name} does")

    def _servers(self) -> list[EndpointPolicy]:
        """New ones: they belong to the event loop that asks them."""
        return [EndpointPolicy(url, self.model, api_key_env=self.api_key_env) for url in self.urls]


def engines(name: EngineName, base_url: str | Sequence[str], model: str, api_key_env: str) -> Engines:
    """The engines behind one URL or several."""
    return Engines(name, [base_url] if isinstance(base_url, str) else base_url, model, api_key_env)


async def _load_vllm(url: str, post: Post, weights: Path) -> None:
    await post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(weights)}})
    answer = await post("/reset_prefix_cache", {})
    if isinstance(answer, dict) and answer.get("success") is False:  # older ones say nothing
        raise InfrastructureFault(f"{url} keeps keys and values of its old weights; does it serve others?")


async def _load_sglang(url: str, post: Post, weights: Path) -> None:
    await post("/update_weights_from_disk", {"model_path": str(weights)})  # it empties its cache by itself


async def _score_vllm(server: EndpointPolicy, tokens: list[int], first: int) -> list[float]:
    asked = {"model": server.name, "prompt": tokens, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
    answer = await server.call("/v1/completions", asked)
    places = answer["choices"][0]["prompt_logprobs"][first:]
    return [place[str(token)]["logprob"] for place, token in zip(places, tokens[first:], strict=True)]


async def _score_sglang(server: EndpointPolicy, tokens: list[int], first: int) -> list[float]:
    sampling = {"max_new_tokens": 1, "temperature": 0.0}
    asked = {"input_ids": tokens, "sampling_params": sampling, "return_logprob": True, "logprob_start_len": first - 1}
    answer = await server.call("/generate", asked)
    # (log-probability, token, text) up to the last one; that at which it starts may have none.
    return [place[0] for place in answer["meta_info"]["input_token_logprobs"][first - len(tokens) :]]


_LOAD = {"vllm": _load_vllm, "sglang": _load_sglang}
_SCORE = {"vllm": _score_vllm, "sglang": _score_sglang}
