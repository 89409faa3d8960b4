"""The gateway: the one door to every policy, an OpenAI-compatible server on a thread of its own.

A harness gets `url` and a key that names its trajectory; nothing else about it has to change.
"""

import asyncio
import gc
import hashlib
import hmac
import logging
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollin.errors import InfrastructureFault, UserError
from rollin.gateway import wire
from rollin.gateway.conversations import Conversations
from rollin.gateway.handlers import HANDLERS
from rollin.gateway.hosting import PLAIN, Ending, Host, Wanted
from rollin.gateway.labels import LabelCounts, Labeller
from rollin.gateway.metrics import Metrics
from rollin.gateway.responses import ResponsesRequest
from rollin.gateway.session import Session, SessionReport, SessionSpec
from rollin.sandboxes import bridge
from rollin.store import Exit, Store

log = logging.getLogger(__name__)
T = TypeVar("T")
WILDCARDS = {"0.0.0.0", "::"}
"""All of this machine's addresses: no host of a URL."""


@dataclass(frozen=True)
class Standing:
    """What a gateway needs that stands by itself."""

    host: Host
    key: str
    """Opens and ends sessions."""
    plain_key: str | None = None
    """For agents that can set a base URL and a key, and nothing else."""


class Gateway:
    """Answers harnesses, records turns, obtains labels. Its methods are called from other threads than its own."""

    def __init__(
        self,
        store: Store,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        label_concurrency: int = 16,
        max_body_mb: int = 16,
        body_seconds: float = 60.0,
        standing: Standing | None = None,
        door: bool = False,
    ) -> None:
        """Port 0 takes a free one. With `standing`, agents open sessions over HTTP; with `door`, agents in a sandbox
        can call (`way_in`). UserError if the port is taken."""
        self._store = store
        self._max_body = max_body_mb * 2**20
        self._body_seconds = body_seconds
        self._sessions: dict[bytes, Session] = {}
        self._taken_over: dict[bytes, int] = {}
        """Dead keys whose trajectory has another session since."""
        self._standing = standing
        self._metrics = Metrics()
        self._labels = Labeller(store, self._metrics, concurrency=label_concurrency)
        self._conversations = Conversations(standing.host, self._session, self._leave) if standing else None
        self._socket = _listen(host, port)
        self._folder = tempfile.TemporaryDirectory(prefix="rollin-")
        self._sockets = [self._socket, *([_listen_at(self._door)] if door else [])]
        self._url = f"http://{_reachable(host)}:{self._socket.getsockname()[1]}/v1"
        # A command may run for minutes between two calls; a connection that the server drops meanwhile would fail.
        config = uvicorn.Config(
            self._app(),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=3600,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forgetting: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    @property
    def url(self) -> str:
        """The base URL for an OpenAI client."""
        return self._url

    @property
    def way_in(self) -> dict[str, Path]:
        """What a sandbox has to be shown so that an agent inside it can call (see `sandboxes/bridge.py`)."""
        return {bridge.DOOR: self._door, bridge.HERE: Path(bridge.__file__)}

    @property
    def _door(self) -> Path:
        return Path(self._folder.name) / "gateway.sock"

    @property
    def open_sessions(self) -> int:
        return len(self._sessions)

    @property
    def label_counts(self) -> LabelCounts:
        """Of the labels asked for since it started."""
        return self._labels.counts

    def __enter__(self) -> Self:
        # A full collection of what is loaded by now (torch, a model) would stop all calls for a tenth of a second and
        # more; it stays as long as the gateway is open.
        gc.freeze()
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop. Labels that aren't there yet stay pending in the store."""
        if self._thread.is_alive():
            self.run(self._labels.cancel())
            self.run(self._end_broken())
            self._server.should_exit = True
            self._thread.join()
            gc.unfreeze()
        for each in self._sockets:
            each.close()
        self._folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the gateway's event loop, where its policies live (`gateway.run(policy.close())`)."""
        assert self._loop is not None, "the gateway is not running; use it as a context manager"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # --- sessions -----------------------------------------------------------------------------------------------

    def open_session(self, spec: SessionSpec) -> str:
        """A key for this trajectory's harness. Turns that the store already has will be replayed; a session that is
        still open is taken over."""
        return self.run(self._open(spec))

    def close_session(self, key: str) -> SessionReport:
        """The trajectory has ended; its key is dead from now on. KeyError if it was already."""
        return self.run(self._close(key))

    def ask_for_missing_labels(self, spec: SessionSpec) -> int:
        """For a trajectory that ended before its labels came: ask again. Returns how many."""

        async def ask() -> int:
            return self._session(spec).ask_for_missing_labels()

        return self.run(ask())

    def await_labels(self, progress: Callable[[LabelCounts], None] | None = None) -> LabelCounts:
        """Wait until no label is being asked for. `progress` is called about twice a second."""
        while (counts := self._labels.wait(0.5)).pending:
            if not self._thread.is_alive():
                raise InfrastructureFault("the gateway stopped while labels were pending; resume the run")
            if progress:
                progress(counts)
        if progress:
            progress(counts)
        return counts

    async def _open(self, spec: SessionSpec) -> str:
        if (before := self._key_of(spec.trajectory.id)) is not None:
            self._sessions.pop(before).end()  # policies forget nothing: the trajectory goes on
            self._taken_over[before] = spec.trajectory.id
        session = self._session(spec)
        session.ask_for_missing_labels()
        key = secrets.token_urlsafe(24)
        log.info("trajectory %d: opened", spec.trajectory.id, extra={"trajectory": spec.trajectory.id})
        self._sessions[_fingerprint(key)] = session
        return key

    def _session(self, spec: SessionSpec) -> Session:
        return Session(spec, self._store, self._labels, self._metrics)

    async def _end_broken(self) -> None:
        if self._conversations:
            self._conversations.end_broken()

    async def _close(self, key: str) -> SessionReport:
        return self._leave(self._sessions.pop(_fingerprint(key)))

    def _leave(self, session: Session) -> SessionReport:
        session.end()
        forgetting = asyncio.get_running_loop().create_task(session.forget())
        self._forgetting.add(forgetting)  # the loop itself only keeps weak references to tasks
        forgetting.add_done_callback(self._forgetting.discard)
        report = session.report()
        told = {"trajectory": session.spec.trajectory.id, "turns": report.turns, "fault": report.fault}
        log.info("trajectory %d: closed after %d turns", told["trajectory"], report.turns, extra=told)
        return report

    # --- the server ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = self._loop.create_task(self._server.serve(sockets=self._sockets))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.005)
        self._ready.set()
        await serving

    def _app(self) -> Starlette:
        standing = [
            Route("/sessions", self._post_session, methods=["POST"]),
            Route("/sessions/{number:int}/end", self._end_session, methods=["POST"]),
        ]
        return Starlette(
            routes=[
                Route("/v1/chat/completions", partial(self._turn, wire.ChatRequest), methods=["POST"]),
                Route("/v1/responses", partial(self._turn, ResponsesRequest), methods=["POST"]),
                Route("/v1/models", self._models, methods=["GET"]),
                Route("/metrics", self._expose, methods=["GET"]),
                *(standing if self._standing else []),
            ],
            exception_handlers=HANDLERS,
        )

    async def _turn(self, kind: type[wire.ChatRequest | ResponsesRequest], request: Request) -> Response:
        """A call of the harness's, in either of OpenAI's forms."""
        self._key(request)
        call = wire.parse(kind, await self._body(request))
        state = call.state()
        key = self._key(request)  # again: it may have died while the body arrived
        session = self._sessions.get(key)
        if session is None:
            assert self._conversations is not None  # or the key would be no session's
            session = self._conversations.session(state, repeated=_is_repeated(request))
        turn, action = await session.answer(state, call.asked())
        return call.answer(session.spec.trajectory.id, turn, action)

    async def _models(self, request: Request) -> Response:
        self._key(request)
        return wire.models()

    async def _expose(self, request: Request) -> Response:
        """Counts only, for a scraper that has no key."""
        self._metrics.sessions.set(len(self._sessions) + len(self._conversations or ()))
        return Response(self._metrics.exposed(), media_type=Metrics.content_type)

    async def _post_session(self, request: Request) -> Response:
        standing = self._host(request)
        wanted = wire.parse(Wanted, await self._body(request))
        if wanted.name == PLAIN:
            raise wire.WireError(400, f"task: {PLAIN} is what comes with the plain key; name yours otherwise")
        try:
            spec = standing.host.open(wanted)
            key = await self._open(spec)
        except ValidationError as error:
            raise wire.invalid(error, "task") from error
        except ValueError as error:
            raise wire.WireError(409, f"{error}; name another attempt") from error
        base_url = f"{request.url.scheme}://{request.url.netloc}/v1"  # as it came here: perhaps by another name
        return JSONResponse({"key": key, "base_url": base_url, "trajectory": spec.trajectory.id}, 201)

    async def _end_session(self, request: Request) -> Response:
        standing, number = self._host(request), request.path_params["number"]
        ending = wire.parse(Ending, await self._body(request) or b"{}")
        key = self._key_of(number)
        if key is None:
            raise wire.WireError(404, f"trajectory {number} has no open session")
        report = self._leave(self._sessions.pop(key))
        if report.fault:
            ending = Ending(exit=Exit.INFRASTRUCTURE_FAULT)
        standing.host.end(number, ending)
        return JSONResponse({"trajectory": number, "turns": report.turns, "exit": ending.exit, "fault": report.fault})

    def _key_of(self, trajectory_id: int) -> bytes | None:
        """The fingerprint of the key to a trajectory's open session."""
        found = (key for key, session in self._sessions.items() if session.spec.trajectory.id == trajectory_id)
        return next(found, None)

    def _host(self, request: Request) -> Standing:
        assert self._standing is not None  # there is no such address otherwise
        if not hmac.compare_digest(_bearer(request), _fingerprint(self._standing.key)):
            raise wire.WireError(401, "this is not the key that opens sessions", code="invalid_api_key")
        return self._standing

    def _key(self, request: Request) -> bytes:
        """The fingerprint of a key that is good for calls. WireError 401 for any other."""
        key = _bearer(request)
        plain = self._standing.plain_key if self._standing else None
        if key in self._sessions or (plain and hmac.compare_digest(key, _fingerprint(plain))):
            return key
        why = "no trajectory has this key, or it has ended"
        if key in self._taken_over:
            number = self._taken_over[key]
            why = f"another session of trajectory {number} was opened since; give each agent an attempt of its own"
        raise wire.WireError(401, why, code="invalid_api_key")

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._max_body:
                        raise wire.WireError(413, f"the request is larger than {self._max_body // 2**20} MiB")
        except TimeoutError as error:
            raise wire.WireError(408, f"the request did not arrive within {self._body_seconds:.0f} s") from error
        return bytes(body)


def _bearer(request: Request) -> bytes:
    """The fingerprint of the key that a request brings."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return _fingerprint(key.strip() if scheme.lower() == "bearer" else "")


def _is_repeated(request: Request) -> bool:
    """OpenAI's clients count their tries."""
    return request.headers.get("x-stainless-retry-count", "0") != "0"


def _fingerprint(key: str) -> bytes:
    # Looking up a hash takes a time that says nothing about the key.
    return hashlib.sha256(key.encode()).digest()


def _reachable(host: str) -> str:
    """What a URL calls a host that is listened on."""
    if host in WILDCARDS:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UserError(f"cannot listen on {host}, port {port} ({error.strerror}); choose another") from error
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, which this one doesn't, and
    # without it an answer's body waits for the acknowledgement of its headers: up to 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _listen_at(path: Path) -> socket.socket:
    """A Unix socket, for sandboxes, which have no network. Its folder is closed to everybody else; a sandbox is shown
    the socket itself, and runs as another user."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.bind(str(path))
    except OSError as error:
        raise UserError(f"cannot listen on {path} ({error}); set TMPDIR to a short path that can be written") from error
    path.chmod(0o666)
    door.listen(1024)
    return door
