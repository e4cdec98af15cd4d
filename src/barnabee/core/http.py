"""What stands in front of every service's routes: trace id, access, limits, metrics, a log line.

One plain ASGI layer, because a voice turn passes it several times. Services give their routes to
`front`; the health and metrics routes are the same everywhere.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from barnabee import __version__
from barnabee.core import trace_context
from barnabee.core.auth import cross_site
from barnabee.core.errors import (
    BadRequest,
    BarnabeeError,
    CrossSite,
    NotFound,
    TooLarge,
    Unauthorized,
)
from barnabee.core.tracing import SPANS

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from barnabee.core.auth import Access
    from barnabee.core.health import Health, Report
    from barnabee.core.metrics import Metrics

OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/login"})
# Asked again and again by machines: a line in the log only when something is wrong.
QUIET_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics", "/v1/rooms"})
MIB = 1024 * 1024
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SWITCHING = 101  # the status of a WebSocket that was accepted
_STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})

log = structlog.get_logger()


def standard_routes(health: Health, metrics: Metrics) -> list[Route]:
    """Return /health, /health/live, /health/ready and /metrics."""

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "alive", "service": health.component})

    async def ready(_request: Request) -> Response:
        report = await health.report()
        return JSONResponse(report_body(health, report), status_code=200 if report.ready else 503)

    async def exposition(_request: Request) -> Response:
        from barnabee.core.metrics import CONTENT_TYPE  # noqa: PLC0415 - prometheus is not ASGI's

        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return [
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/health", ready),
        Route("/metrics", exposition),
    ]


def report_body(health: Health, report: Report) -> dict[str, object]:
    """Return the JSON form of a report."""
    return {
        "status": report.state.value,
        "service": health.component,
        "version": __version__,
        "uptime_s": round(health.uptime_s, 1),
        "dependencies": {name: found.as_dict() for name, found in report.findings.items()},
    }


def handle_errors(app: Starlette) -> None:
    """Turn every error into `{"code", "message", "trace_id"}` with its status."""

    async def ours(request: Request, error: BarnabeeError) -> Response:
        request.scope["barnabee.code"] = error.code
        headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
        return JSONResponse(error.body(trace_context.current()), error.status, headers)

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field_name = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return await ours(request, BadRequest(field=f"field `{field_name}`", reason=first["msg"]))

    async def http(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, BarnabeeError):  # FastAPI hides what reading the body raised
            return await ours(request, error.__cause__)
        if error.status_code == NotFound.status:
            return await ours(request, NotFound(what=f"page {request.url.path}"))
        answer = await ours(request, BadRequest(field="request", reason=error.detail))
        answer.status_code = error.status_code
        return answer

    async def unexpected(request: Request, _error: Exception) -> Response:
        return await ours(request, BarnabeeError())

    app.add_exception_handler(BarnabeeError, ours)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, http)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, unexpected)


@dataclass
class Front:
    """The outermost ASGI layer; `access=None` leaves every path open (tests of a route alone)."""

    app: ASGIApp
    metrics: Metrics
    access: Access | None
    body_max_bytes: int = MIB
    open_paths: frozenset[str] = field(default=OPEN_PATHS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        trace_context.adopt(headers.get(b"traceparent"))
        if SPANS.sink is not None:
            SPANS.enter(headers.get(b"traceparent"))
        exchange = _Exchange(scope, receive, send, self.body_max_bytes)
        try:
            error = self._refusal(scope, headers)
            if error is not None:
                await exchange.refuse(error)
            else:
                await self.app(scope, exchange.receive, exchange.send)
        finally:
            self._record(scope, exchange)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> BarnabeeError | None:
        if self.access is not None:
            client = self.access.client(
                headers.get(b"authorization"), headers.get(b"cookie"), time.time()
            )
            if client is None and scope["path"] not in self.open_paths:
                return Unauthorized()
            changes = scope.get("method", "WEBSOCKET") not in SAFE_METHODS
            if changes and client != "token" and cross_site(headers):
                return CrossSite()
            peer = scope.get("client")
            scope["barnabee.client"] = f"{client}@{peer[0] if peer else 'local'}"
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self.body_max_bytes:
            return TooLarge(field="request body", limit=f"{self.body_max_bytes} bytes")
        return None

    def _record(self, scope: Scope, exchange: _Exchange) -> None:
        seconds = exchange.seconds()
        route = getattr(scope.get("route"), "path", None) or _quiet_path(scope) or "unmatched"
        method = scope.get("method", "WEBSOCKET")
        self.metrics.observe(method, route, exchange.status, seconds)
        code = scope.get("barnabee.code")
        if code:
            self.metrics.error(code)
        if scope["path"] not in QUIET_PATHS or code:
            log.info(
                "request",
                method=method,
                route=route,
                status=exchange.status,
                code=code,
                latency_ms=round(seconds * 1000, 2),
                **scope.get("barnabee.log", {}),
            )


def _quiet_path(scope: Scope) -> str | None:
    path: str = scope["path"]
    return path if path in QUIET_PATHS else None


class _Exchange:
    """One request's channels, watched: how much came in and which status went out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = limit
        self._taken = 0
        self._begun = time.perf_counter()
        self._accepted: float | None = None
        self.status = 0

    def seconds(self) -> float:
        """Return how long it took; of what stays open for days, until it was open."""
        return (self._accepted or time.perf_counter()) - self._begun

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            if self._taken > self._limit:
                raise TooLarge(field="request body", limit=f"{self._limit} bytes")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.status = message.get("status", SWITCHING)
            message.setdefault("headers", [])
            events = (b"content-type", b"text/event-stream") in message["headers"]
            if self.status == SWITCHING or events:
                self._accepted = time.perf_counter()
            trace_id = trace_context.current().encode()
            message["headers"] = [*message["headers"], (b"x-trace-id", trace_id)]
        await self._send(message)

    async def refuse(self, error: BarnabeeError) -> None:
        self._scope["barnabee.code"] = error.code
        if self._scope["type"] == "websocket":
            await self._receive()
            if "websocket.http.response" not in self._scope.get("extensions", {}):
                self.status = error.status
                await self._send({"type": "websocket.close", "code": 4000 + error.status})
                return
        response = JSONResponse(error.body(trace_context.current()), error.status)
        await response(self._scope, self._receive, self.send)
