"""A policy behind any OpenAI-compatible URL: a hosted API, vLLM, SGLang, `transformers serve`.

By aiohttp: the official client, with httpx below it, takes 2 to 7 ms of CPU a call (it re-types every message, and its
pool polls every idle connection), this 1. The gateway's event loop pays that for every turn and every label.
"""

import asyncio
import json
import logging
import os
import random
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import aiohttp
from pydantic_core import to_json

from rollin.errors import ContextOverflow, InfrastructureFault, Refused, UserError
from rollin.messages import offered
from rollin.policies.base import Action, Request, Sampling
from rollin.policies.completion import CUT, FINISHES, Completion, action, parsed
from rollin.policies.refusals import (
    ABSENT,
    BROKEN_OFF,
    NO_ANSWER,
    NO_COMPLETION,
    OF_THE_QUESTION,
    UNSUPPORTED,
    UNSUPPORTED_VALUE,
    RefusalError,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

SEED_BITS = 31
"""What every server takes; ours have 63."""
NEWER = {"max_tokens": "max_completion_tokens"}
"""What a field is called by now. Reasoning models refuse the older name, most servers know no other."""
QUESTION = {"model", "messages", "tools"}
"""Fields without which something else would be asked."""
LONGEST_PAUSE = 60.0
RETRIES, CHECKED_AGAIN, ODD_AGAIN = 5, 3, 1
"""How often a server in trouble is asked again: for an action, whether it is there, and where its answer was no
completion, which it may want to be paid for."""

Post = Callable[[str, dict[str, object]], Coroutine[Any, Any, Any]]
"""(a path of a server, what is posted there) -> its answer."""
Restore = Callable[[str, Post], Coroutine[Any, Any, None]]
"""(a server's base URL, how to post there): does what it wants, where it was perhaps started anew."""


class _Presence:
    """Whether a server was there all the time. One that was gone is restored before it is asked again, when nothing is
    under way there."""

    def __init__(self, restore: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
        self._restore = restore
        self._gone = False
        self._door = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()
        self._asking = 0

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Ask within."""
        async with self._door:
            if self._gone and self._restore:
                await self._idle.wait()
                await self._restore()
            self._gone = False
            self._asking += 1
            self._idle.clear()
        try:
            yield
        except RefusalError as refusal:
            self._gone = self._gone or refusal.status in ABSENT
            raise
        finally:
            self._asking -= 1
            if not self._asking:
                self._idle.set()


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
        retries: int = RETRIES,
        requests_per_minute: float | None = None,
        restore: Restore | None = None,
    ) -> None:
        """`api_key_env` names the variable that holds the key; unset will do for a server that wants none.

        `extra` goes into each request's body; None takes a field out, for servers that refuse one
        (`{"seed": None}`). With `{"logprobs": True, "return_token_ids": True}`, vLLM gives the sampled tokens too.
        A field that the model does not take (`unsupported_parameter`) is left out from then on, or renamed; one of
        which it does not take the value, only if it is ours.
        `seconds` limits one try; lost connections, 429 and 5xx are tried again `retries` times, with backoff. Requests
        beyond `requests_per_minute` wait for their turn. A server that was gone is given to `restore` before its model
        is asked again. UserError for a URL that is none or holds a password, and for a key that no header takes.
        """
        self.name = model
        self.base_url = base_url.rstrip("/")
        self._key_env = api_key_env
        self._key = _key(api_key_env)
        self._extra = dict(extra or {})
        self._unsupported = set[str]()
        """Fields that the model has refused."""
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._retries = retries
        self._interval = 60 / requests_per_minute if requests_per_minute else 0.0
        self._free = 0.0
        """When the next request may begin."""
        self._presence = _Presence(restore and (lambda: restore(self.base_url, self._call)))
        self._proxy = _proxy(base_url)
        self._session: aiohttp.ClientSession | None = None

    async def check(self) -> None:
        """Ask for one token, before a run starts. UserError says what is wrong with the URL, the key or the model;
        InfrastructureFault that the server is in trouble (429, 5xx), and was so when it was asked again."""
        body = self._body([{"role": "user", "content": "Say hi."}], Sampling(max_tokens=1), seed=0)

        async def once() -> None:
            try:
                await self._complete(body)
            except RefusalError as refusal:
                if refusal.is_transient and refusal.status not in (NO_ANSWER, NO_COMPLETION):
                    raise
                raise UserError(self._advice(refusal)) from refusal

        try:
            await self._patiently(once, CHECKED_AGAIN)
        except RefusalError as refusal:
            raise self._fault(refusal) from refusal

    async def act(self, request: Request) -> Action:
        """See `Policy`. ContextOverflow where the server says that the conversation is too long, Refused where it does
        not take the question otherwise."""
        tools, conversation = offered(request.messages)
        asked = {**request.asked, **({"tools": tools} if tools else {})}
        body = self._body([*conversation], request.sampling, request.seed, asked)
        started = time.perf_counter()
        try:
            completion = await self._patiently(lambda: self._complete(body), self._retries)
        except RefusalError as refusal:
            if refusal.overflow:
                raise ContextOverflow(refusal.reason) from refusal
            raise self._fault(refusal) from refusal
        return action(completion, time.perf_counter() - started, with_logprobs=bool(asked.get("logprobs")))

    async def call(self, path: str, body: dict[str, object]) -> Any:
        """Post to another path of the server (`/v1/...`, or what an engine has beside it) as patiently; its answer, or
        None where that is no JSON. InfrastructureFault where it refuses, or doesn't answer in the end."""
        try:
            return await self._patiently(lambda: self._call(path, body), self._retries)
        except RefusalError as refusal:
            raise self._fault(refusal) from refusal

    def forget(self, trajectory: str) -> None:
        """Nothing is kept here."""

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _body(
        self, messages: list[object], sampling: Sampling, seed: int, asked: Mapping[str, object] = MappingProxyType({})
    ) -> dict[str, object]:
        ours = {"model": self.name, "messages": messages} | sampling.model_dump() | self._extra
        return {"seed": seed % 2**SEED_BITS} | dict(asked) | ours

    def _fault(self, refusal: RefusalError) -> InfrastructureFault:
        if refusal.status in (NO_COMPLETION, BROKEN_OFF):
            return InfrastructureFault(f"{self.base_url} {refusal.reason}")
        said = f"failed ({refusal.status or 'no answer'}): {refusal.reason}"
        if refusal.path:
            return InfrastructureFault(f"{self.name} at {self.base_url} {refusal.path} {said}")
        kind = Refused if refusal.status in OF_THE_QUESTION else InfrastructureFault
        return kind(f"{self.name} at {self.base_url} {said}", pause=refusal.pause)

    async def _call(self, path: str, body: dict[str, object]) -> Any:
        try:
            answer = await self._post(self.base_url.removesuffix("/v1") + path, body)
        except RefusalError as refusal:
            refusal.path = path
            raise
        try:
            return json.loads(answer)
        except ValueError:
            return None

    async def _complete(self, body: dict[str, object]) -> Completion:
        sent = self._supported(body)
        try:
            async with self._presence.asking():
                content = await self._post(f"{self.base_url}/chat/completions", sent)
        except RefusalError as refusal:
            if refusal.is_cut:
                return CUT
            if not self._heeds(refusal, sent):
                raise
            return await self._complete(body)
        try:
            completion = parsed(content)
        except ValueError as error:
            why = self._line(f"answered with something that is no chat completion ({error})")
            raise RefusalError(NO_COMPLETION, why) from error
        if completion.finish_reason not in FINISHES:
            why = self._line(f"broke off its answer (finish_reason {completion.finish_reason})")
            raise RefusalError(BROKEN_OFF, why)
        return completion

    def _supported(self, body: dict[str, object]) -> dict[str, object]:
        """What of a request the model takes, as far as it has said."""
        renamed = {NEWER.get(name, name) if name in self._unsupported else name: v for name, v in body.items()}
        return {name: v for name, v in renamed.items() if name not in self._unsupported and v is not None}

    def _heeds(self, refusal: RefusalError, sent: dict[str, object]) -> bool:
        """Whether it is about a field that can be done without; it is remembered. An agent that asks for a value which
        the model does not take may ask for another, and other agents do."""
        ours = {"seed", *Sampling.model_fields, *NEWER.values(), *self._extra}
        fields = {UNSUPPORTED: sent.keys() - QUESTION, UNSUPPORTED_VALUE: sent.keys() & ours}
        if refusal.param not in fields.get(refusal.code, ()):
            return False
        self._unsupported.add(refusal.param)
        log.warning("%s at %s does not take %s; it is asked without", self.name, self.base_url, refusal.param)
        return True

    async def _patiently(self, ask: Callable[[], Coroutine[Any, Any, T]], retries: int) -> T:
        """Ask, and again while the server is in trouble."""
        for attempt in range(retries):
            try:
                return await ask()
            except RefusalError as refusal:
                if not refusal.is_transient or (refusal.status == NO_COMPLETION and attempt >= ODD_AGAIN):
                    raise
                await asyncio.sleep(backoff(attempt, refusal.pause))
        return await ask()

    async def _turn(self) -> None:
        """Wait until another request is allowed."""
        now = time.monotonic()
        start = max(now, self._free)
        self._free = start + self._interval
        await asyncio.sleep(start - now)

    async def _post(self, url: str, body: dict[str, object]) -> bytes:
        if self._interval:
            await self._turn()
        if self._session is None:
            # Without a limit on connections: how much is asked at once is the gateway's decision.
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        # In a third of json's time, which a long conversation pays at every turn.
        data = to_json({name: value for name, value in body.items() if value is not None})
        try:
            async with self._session.post(url, data=data, headers=headers, proxy=self._proxy) as answer:
                content = await answer.read()
        except TimeoutError as error:
            raise RefusalError(NO_ANSWER, f"no answer within {self._timeout.total:.0f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise RefusalError(NO_ANSWER, self._line(str(error) or type(error).__name__)) from error
        if answer.status != 200:
            raise RefusalError.read(answer.status, answer.headers, content, str(answer.reason), self._line)
        return content

    def _line(self, text: str) -> str:
        """One short line. Some servers quote the key they were given; it is taken out."""
        return " ".join((text.replace(self._key, "[key]") if self._key else text).split())[:300]

    def _advice(self, refusal: RefusalError) -> str:
        url, status, reason = self.base_url, refusal.status, refusal.reason
        if status == NO_ANSWER:
            return f"nothing answers at {url} ({reason}); start the server, or mend the URL"
        if status == NO_COMPLETION:
            return f"{url} {reason}; check that the URL is an API's base URL, such as https://host/v1"
        if status in (401, 403):
            return (
                f"{url} refused the key: {self._key_env} {'holds another' if self._key else 'is not set'}; export one"
            )
        if status in (404, 405):
            return f"{url} has no model {self.name!r}, or is not an API's base URL ({reason}); mend one of them"
        return f"{url} refused a request to {self.name!r} ({status}: {reason}); mend the settings"


def backoff(attempt: int, asked: float | None) -> float:
    """Seconds to wait before another try: as long as the server asked for, and then 0.5, 1, 2 ..., at random from the
    half of it on, so that all trajectories don't come back at once."""
    return min(asked or 0.0, LONGEST_PAUSE) + 2.0**attempt * random.uniform(0.25, 0.5)


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key.isprintable():
        raise UserError(f"the key in {variable} holds a line break, or another sign that no key has; export it anew")
    return key


def _proxy(url: str) -> str | None:
    """The environment's proxy for a URL. aiohttp would look it up at every call, on another thread. UserError."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise UserError(f"the base URL {url!r} is none ({error}); mend it") from error
    if parts.password is not None or parts.username is not None:
        raise UserError(
            f"the base URL of {parts.hostname} holds a name or a password, which would be recorded; take them out, and"
            " have the server accept a key"
        )
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)
