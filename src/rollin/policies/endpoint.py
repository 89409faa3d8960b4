"""A policy behind any OpenAI-compatible URL: a hosted API, vLLM, SGLang, `transformers serve`."""

import os
import time
from collections.abc import Mapping
from typing import Any

import openai
from pydantic import BaseModel, Field, ValidationError

from rollin.errors import ContextOverflow, InfrastructureFault, UserError
from rollin.policies.base import Action, Request, Sampling

SEED_BITS = 31
"""What every server takes; ours have 63."""


class _Token(BaseModel):
    token: str
    logprob: float


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    token_ids: list[int] | None = None
    """vLLM's, on request."""


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(BaseModel):
    """The part of an answer that is used; servers add much to it."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class EndpointPolicy:
    """Asks a model at `base_url`. Belongs to the event loop that first asks it."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        extra: Mapping[str, object] | None = None,
        seconds: float = 600.0,
        retries: int = 5,
    ) -> None:
        """`api_key_env` names the variable that holds the key; unset will do for a server that wants none.

        `extra` goes into each request's body; None takes a field out, for servers that refuse one
        (`{"seed": None}`). With `{"logprobs": True, "return_token_ids": True}`, vLLM gives the sampled tokens too.
        `seconds` limits one try; connection errors, 429 and 5xx are tried again `retries` times, with backoff.
        """
        self.name = model
        self._base_url = base_url
        self._key_env = api_key_env
        self._extra = extra or {}
        key = os.environ.get(api_key_env) or "none"
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=key,
            timeout=seconds,
            max_retries=retries,
            # At 32 calls at once, httpx's own pool takes 7 ms of CPU a call (it polls every idle connection), this 2.
            http_client=openai.DefaultAioHttpClient(),
        )

    async def check(self) -> None:
        """Ask for one token, before a run starts. UserError says what is wrong with the URL, the key or the model."""
        try:
            await self._complete(self._client.with_options(max_retries=0), self._body([_PROBE], Sampling(max_tokens=1)))
        except openai.APIConnectionError as error:
            raise UserError(f"nothing answers at {self._base_url}; start the server, or mend the URL") from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            state = "is not set" if not os.environ.get(self._key_env) else "holds another"
            raise UserError(f"{self._base_url} refused the key: {self._key_env} {state}; export a valid key") from error
        except openai.NotFoundError as error:
            raise UserError(
                f"{self._base_url} has no model {self.name!r}, or is not an API's base URL ({self._reason(error)}); "
                "mend the model's name or the URL"
            ) from error
        except openai.APIStatusError as error:
            raise UserError(
                f"{self._base_url} refused a request to {self.name!r} ({error.status_code}: {self._reason(error)}); "
                "mend the settings"
            ) from error
        except InfrastructureFault as fault:
            raise UserError(f"{fault}; check that the URL is an API's base URL, such as https://host/v1") from fault

    async def act(self, request: Request) -> Action:
        """See `Policy`. ContextOverflow where the server says that the conversation is too long."""
        body = self._body([dict(message) for message in request.messages], request.sampling)
        started = time.perf_counter()
        try:
            completion = await self._complete(self._client, {"seed": request.seed % 2**SEED_BITS} | body)
        except openai.BadRequestError as error:
            if self._is_overflow(error):
                raise ContextOverflow(self._reason(error)) from error
            raise InfrastructureFault(f"{self.name} refused a request: {self._reason(error)}") from error
        except openai.APIError as error:
            raise InfrastructureFault(f"{self.name} at {self._base_url} failed: {self._reason(error)}") from error
        return _action(completion, time.perf_counter() - started)

    def forget(self, trajectory: str) -> None:
        """Nothing is kept here."""

    async def close(self) -> None:
        await self._client.close()

    def _body(self, messages: list[dict[str, Any]], sampling: Sampling) -> dict[str, object]:
        return {"model": self.name, "messages": messages, **sampling.model_dump()}

    async def _complete(self, client: openai.AsyncOpenAI, body: dict[str, object]) -> _Completion:
        body = {name: value for name, value in (body | dict(self._extra)).items() if value is not None}
        # Not `client.chat.completions.create`: it re-types every message of a long conversation, 0.7 ms for each.
        answer = await client.post("/chat/completions", cast_to=object, body=body)
        try:
            return _Completion.model_validate(answer)
        except ValidationError as error:
            raise InfrastructureFault(f"{self._base_url} answered with something that is no chat completion") from error

    def _is_overflow(self, error: openai.BadRequestError) -> bool:
        text = self._reason(error).lower()
        return error.code == "context_length_exceeded" or "context length" in text or "context window" in text

    def _reason(self, error: openai.APIError) -> str:
        """What the server said, in one short line. Some servers quote the key they were given; it is taken out."""
        body = error.body if isinstance(error.body, dict) else {}
        said = str(body.get("message") or body.get("detail") or error.message)
        if key := os.environ.get(self._key_env):
            said = said.replace(key, "[key]")
        return " ".join(said.split())[:300]


_PROBE = {"role": "user", "content": "Say hi."}


def _action(completion: _Completion, seconds: float) -> Action:
    choice, usage = completion.choices[0], completion.usage or _Usage()
    token_ids, logprobs = _tokens(choice)
    return Action(
        content=choice.message.content or "",
        finish_reason="length" if choice.finish_reason == "length" else "stop",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        token_ids=token_ids,
        logprobs=logprobs,
        seconds=seconds,
    )


def _tokens(choice: _Choice) -> tuple[list[int] | None, list[float] | None]:
    """Both, or neither: a log-probability without its token is of no use, and they have to be of one length."""
    content = choice.logprobs.content if choice.logprobs else None
    if choice.token_ids is None:
        return None, None
    if content is None or len(content) != len(choice.token_ids):
        return choice.token_ids, None
    return choice.token_ids, [token.logprob for token in content]
