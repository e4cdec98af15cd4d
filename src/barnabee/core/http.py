"""HTTP parts that every service has: middleware, error handlers, health and metrics routes.

The middleware is one plain ASGI class, because a voice turn passes it several times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from barnabee.core import tracing
from barnabee.core.auth import OpenStreams, RouteScopes, is_cross_site
from barnabee.core.errors import (
    BadRequest,
    BarnabeeError,
    CrossSiteRequest,
    Forbidden,
    NotFound,
    TooLarge,
    Unauthorized,
)
from barnabee.core.http_limits import AUTHENTICATED_KEY
from barnabee.core.rate_limit import RateLimiter

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from barnabee.core.auth import Authenticator
    from barnabee.core.health import HealthMonitor
    from barnabee.core.metrics import Metrics

PUBLIC_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/login"})
# Polled paths: logged only on errors.
UNLOGGED_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics", "/v1/rooms"})
MIB = 1024 * 1024
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SWITCHING_PROTOCOLS = 101  # status of an accepted WebSocket
REVOKED = 4401  # close code of a WebSocket whose client was revoked
CLIENT_KEY = "barnabee.identity"  # in the ASGI scope: the authenticated `Client`
HOLD_KEY = "barnabee.hold"  # function that ends a stream when the request's client is revoked
_RESPONSE_STARTS = frozenset(
    {"http.response.start", "websocket.http.response.start", "websocket.accept"}
)

log = structlog.get_logger()


def make_standard_routes(health: HealthMonitor, metrics: Metrics) -> list[Route]:
    """Return /health, /health/live, /health/ready and /metrics."""

    async def get_live(_request: Request) -> Response:
        return JSONResponse({"status": "alive", "service": health.component})

    async def get_ready(request: Request) -> Response:
        report = await health.report()
        body = health.make_body(report, is_public=CLIENT_KEY not in request.scope)
        return JSONResponse(body, status_code=200 if report.is_ready else 503)

    async def get_metrics(_request: Request) -> Response:
        from barnabee.core.metrics import CONTENT_TYPE  # noqa: PLC0415 - slow import

        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return [
        Route("/health/live", get_live),
        Route("/health/ready", get_ready),
        Route("/health", get_ready),
        Route("/metrics", get_metrics),
    ]


def add_error_handlers(app: Starlette) -> None:
    """Answer every error with its status and the body `{"code", "message", "trace_id"}`."""

    async def handle_error(request: Request, error: BarnabeeError) -> Response:
        request.scope["barnabee.code"] = error.code
        headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
        return JSONResponse(error.body(tracing.get_trace_id()), error.status, headers)

    async def handle_validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return await handle_error(request, BadRequest(field=f"field `{name}`", reason=first["msg"]))

    async def handle_http(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, BarnabeeError):  # FastAPI wraps errors of reading the body
            return await handle_error(request, error.__cause__)
        if error.status_code == NotFound.status:
            return await handle_error(request, NotFound(what=f"page {request.url.path}"))
        response = await handle_error(request, BadRequest(field="request", reason=error.detail))
        response.status_code = error.status_code
        return response

    async def handle_unexpected(request: Request, _error: Exception) -> Response:
        return await handle_error(request, BarnabeeError())

    app.add_exception_handler(BarnabeeError, handle_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, handle_validation)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, handle_http)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, handle_unexpected)


@dataclass
class ServiceMiddleware:
    """ASGI middleware: trace id, authentication, body limit, request metrics and request log.

    Without an `authenticator` every path is public (tests of single routes).
    """

    app: ASGIApp
    metrics: Metrics
    authenticator: Authenticator | None
    body_max_bytes: int = MIB
    public_paths: frozenset[str] = field(default=PUBLIC_PATHS)
    scopes: RouteScopes = field(default_factory=lambda: RouteScopes({}))
    # By client address, 10 a minute; a right token is never refused.
    wrong_tokens: RateLimiter = field(default_factory=partial(RateLimiter, 10, 10))
    streams: OpenStreams = field(default_factory=OpenStreams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        tracing.adopt_trace_id(headers.get(b"traceparent"))
        recorder = _RequestRecorder(scope, receive, send, self.body_max_bytes)
        try:
            try:
                self._check(scope, headers)
            except BarnabeeError as error:
                await recorder.refuse(error)
            else:
                await self.app(scope, recorder.receive, recorder.send)
                await recorder.end_revoked()
        finally:
            recorder.release()
            self._record(scope, recorder)

    def _check(self, scope: Scope, headers: dict[bytes, str]) -> None:
        if self.authenticator is not None:
            self._authenticate(self.authenticator, scope, headers)
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self.body_max_bytes:
            raise TooLarge(field="request body", limit=f"{self.body_max_bytes} bytes")

    def _authenticate(
        self, authenticator: Authenticator, scope: Scope, headers: dict[bytes, str]
    ) -> None:
        client = authenticator.identify(headers, time.time())
        address = (scope.get("client") or ["local"])[0]
        method = scope.get("method", "WEBSOCKET")
        if scope["path"] not in self.public_paths:
            if client is None:
                if b"authorization" in headers:
                    self.wrong_tokens.take(address)
                raise Unauthorized
            required = self.scopes.find(method, scope["path"])
            if not client.scope.allows(required):
                raise Forbidden(required=required, given=client.scope)
        is_from_page = client is None or client.is_browser
        if method not in SAFE_METHODS and is_from_page and is_cross_site(headers):
            raise CrossSiteRequest
        scope["barnabee.client"] = f"{client.name if client else None}@{address}"
        if client is not None:
            scope[CLIENT_KEY], scope[AUTHENTICATED_KEY] = client, True
            scope[HOLD_KEY] = partial(
                self.streams.hold,
                lambda: authenticator.may_continue(client, headers, time.time()),
            )

    def _record(self, scope: Scope, recorder: _RequestRecorder) -> None:
        duration_s = recorder.duration_s()
        polled_path = scope["path"] if scope["path"] in UNLOGGED_PATHS else "unmatched"
        route = getattr(scope.get("route"), "path", None) or polled_path
        method = scope.get("method", "WEBSOCKET")
        self.metrics.observe_request(method, route, recorder.status, duration_s)
        code = scope.get("barnabee.code")
        if code:
            self.metrics.count_error(code)
        if scope["path"] not in UNLOGGED_PATHS or code:
            log.info(
                "request",
                method=method,
                route=route,
                status=recorder.status,
                code=code,
                latency_ms=round(duration_s * 1000, 2),
                client=scope[CLIENT_KEY].name if CLIENT_KEY in scope else None,
                **scope.get("barnabee.log", {}),
            )


class _RequestRecorder:
    """Wraps the channels of one request: limits the body, records the status and the duration.

    To an event stream or WebSocket whose client is revoked, it seems to disconnect.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._received_bytes = 0
        self._has_body = False
        self._started_at = time.perf_counter()
        self._opened_at: float | None = None
        self.status = 0
        self._receiving: asyncio.Task[Message] | None = None
        self._is_revoked = False
        self.release: Callable[[], None] = lambda: None

    def duration_s(self) -> float:
        """Return the duration; of WebSockets and event streams only until they were open."""
        return (self._opened_at or time.perf_counter()) - self._started_at

    async def receive(self) -> Message:
        message = await self._receive_until_revoked()
        if message["type"] == "http.request":
            self._received_bytes += len(message.get("body", b""))
            self._has_body = not message.get("more_body", False)
            if self._received_bytes > self._max_bytes:
                raise TooLarge(field="request body", limit=f"{self._max_bytes} bytes")
        return message

    async def _receive_until_revoked(self) -> Message:
        if self._scope["type"] == "http" and not self._has_body:
            return await self._receive()
        if not self._is_revoked:
            # In a task, because an event stream begins to wait here before it is open.
            self._receiving = asyncio.ensure_future(self._receive())
            try:
                return await self._receiving
            except asyncio.CancelledError:
                self._receiving.cancel()
                if not self._is_revoked:
                    raise
        kind = "http" if self._scope["type"] == "http" else "websocket"
        return {"type": f"{kind}.disconnect", "code": REVOKED, "reason": ""}

    async def send(self, message: Message) -> None:
        if message["type"] in _RESPONSE_STARTS:
            self.status = message.get("status", SWITCHING_PROTOCOLS)
            message.setdefault("headers", [])
            is_event_stream = (b"content-type", b"text/event-stream") in message["headers"]
            if self.status == SWITCHING_PROTOCOLS or is_event_stream:
                self._opened_at = time.perf_counter()
                if HOLD_KEY in self._scope:
                    self.release = self._scope[HOLD_KEY](self._revoke)
            trace_id = tracing.get_trace_id().encode()
            message["headers"] = [*message["headers"], (b"x-trace-id", trace_id)]
        await self._send(message)

    def _revoke(self) -> None:
        self._is_revoked = True
        if self._receiving is not None:
            self._receiving.cancel()

    async def end_revoked(self) -> None:
        """Close the connection of a revoked client after the application has returned."""
        if not self._is_revoked:
            return
        last: Message = {"type": "websocket.close", "code": REVOKED, "reason": "revoked"}
        if self._scope["type"] == "http":
            last = {"type": "http.response.body", "body": b"", "more_body": False}
        with suppress(RuntimeError, OSError):  # it is closed already
            await self._send(last)

    async def refuse(self, error: BarnabeeError) -> None:
        self._scope["barnabee.code"] = error.code
        if self._scope["type"] == "websocket":
            await self._receive()
            if "websocket.http.response" not in self._scope.get("extensions", {}):
                self.status = error.status
                await self._send({"type": "websocket.close", "code": 4000 + error.status})
                return
        headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
        response = JSONResponse(error.body(tracing.get_trace_id()), error.status, headers)
        await response(self._scope, self._receive, self.send)
