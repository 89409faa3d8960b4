"""One model behind several URLs, as one policy.

A trajectory stays with the server that answered it last, whose cache holds its prefix; new ones go round. A server that
fails rests for a while and its trajectories move on; when the rest is over it is asked again as any other.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from rollin.errors import InfrastructureFault, Refused
from rollin.policies.base import Action, Request
from rollin.policies.endpoint import RETRIES, EndpointPolicy, Restore, backoff

log = logging.getLogger(__name__)


class Pool:
    """A `Policy` over several that are the same model."""

    def __init__(self, policies: Sequence[EndpointPolicy], *, rest: float = 30.0, rounds: int = RETRIES + 1) -> None:
        """`rest` is how long (in seconds) a server that failed is left alone while others answer, unless it said how
        long. All of them are gone through `rounds` times, with growing pauses, before a request fails."""
        self.name = policies[0].name
        self._policies = [*policies]
        self._rest = rest
        self._rounds = rounds
        self._home: dict[str, int] = {}
        """Who answered a trajectory last."""
        self._back = [0.0] * len(policies)
        """When a server's rest is over."""
        self._next = 0

    async def check(self) -> None:
        """UserError says which server does not answer, and why; InfrastructureFault which is in trouble."""
        for policy in self._policies:
            await policy.check()

    async def act(self, request: Request) -> Action:
        """See `Policy`. InfrastructureFault where none of the servers answers; what one refuses, no other is asked."""
        fault = InfrastructureFault(f"no server of {self.name} answers")
        pauses = list[float]()
        for attempt in range(self._rounds):
            if attempt:
                await asyncio.sleep(backoff(attempt - 1, min(pauses, default=None)))
                pauses.clear()
            for place in self._order(request.trajectory):
                try:
                    action = await self._policies[place].act(request)
                except Refused:
                    raise
                except InfrastructureFault as failed:
                    fault = failed
                    rest = self._rest if failed.pause is None else failed.pause
                    self._back[place] = time.monotonic() + rest
                    pauses += [failed.pause] if failed.pause is not None else []
                    log.warning("%s rests for %.0f s", failed, rest)
                else:
                    self._home[request.trajectory] = place
                    return action
        raise fault

    def forget(self, trajectory: str) -> None:
        self._home.pop(trajectory, None)

    async def close(self) -> None:
        for policy in self._policies:
            await policy.close()

    def _order(self, trajectory: str) -> list[int]:
        """Whom to ask first, second ...: its own server, or the next in turn; then the others; at last who rests."""
        first = self._home.get(trajectory)
        if first is None:
            first, self._next = self._next, (self._next + 1) % len(self._policies)
        order = [(first + step) % len(self._policies) for step in range(len(self._policies))]
        now = time.monotonic()
        return sorted(order, key=lambda place: self._back[place] > now)


def endpoint(
    base_url: str | Sequence[str],
    model: str,
    *,
    api_key_env: str,
    requests_per_minute: float | None = None,
    extra: Mapping[str, object] | None = None,
    restore: Restore | None = None,
) -> EndpointPolicy | Pool:
    """The policy of a model behind one URL or several, which was found to answer; the limit is each server's, and so is
    what restores one that was gone. UserError where it doesn't answer, InfrastructureFault where it is in trouble."""

    def one(url: str, retries: int) -> EndpointPolicy:
        return EndpointPolicy(
            url,
            model,
            api_key_env=api_key_env,
            extra=extra,
            retries=retries,
            requests_per_minute=requests_per_minute,
            restore=restore,
        )

    def made() -> EndpointPolicy | Pool:
        if isinstance(base_url, str):
            return one(base_url, RETRIES)
        return Pool([one(url, 0) for url in base_url])  # another server is the better second try

    asyncio.run(_check(made()))
    return made()  # a policy belongs to the event loop that first asks it


async def _check(policy: EndpointPolicy | Pool) -> None:
    try:
        await policy.check()
    finally:
        await policy.close()
