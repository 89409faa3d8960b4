"""What goes wrong with a call, answered as OpenAI's API answers."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rollin.errors import ContextOverflow, InfrastructureFault, Refused
from rollin.gateway import wire


async def _wire_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, wire.WireError)
    return error.response()


async def _overflow(request: Request, error: Exception) -> Response:
    message = f"This model's maximum context length is exceeded: {error}"
    return wire.WireError(400, message, code="context_length_exceeded").response()


async def _refused(request: Request, error: Exception) -> Response:
    return wire.WireError(400, str(error)).response()


async def _fault(request: Request, error: Exception) -> Response:
    return wire.WireError(503, str(error), kind="server_error", code="infrastructure_fault").response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return wire.WireError(error.status_code, f"{request.method} {request.url.path}: {error.detail}").response()


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _bug(request: Request, error: Exception) -> Response:
    return wire.WireError(500, "the gateway broke; its log says where", kind="server_error").response()


HANDLERS: dict[Any, Any] = {
    wire.WireError: _wire_error,
    ContextOverflow: _overflow,
    Refused: _refused,
    InfrastructureFault: _fault,
    HTTPException: _http_error,
    ClientDisconnect: _gone,
    Exception: _bug,
}
"""By the kind of exception, as Starlette takes them: a more particular one goes before the one that it is a kind of."""
