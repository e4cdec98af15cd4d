"""HTTP/1.1 and WebSocket protocols with limits: header size, time of a request, slow readers.

uvicorn's protocols limit none of them (docs/reference/http.md); these count what they parse and set
the deadlines that the `ConnectionLimiter` enforces.
"""

from __future__ import annotations

import enum
import json
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from barnabee.core import tracing
from barnabee.core.connection_limits import ConnectionLimiter, LimitedConnection
from barnabee.core.errors import BadRequest, BarnabeeError, Overloaded, TooLarge

if TYPE_CHECKING:
    from asyncio import BaseTransport, Transport

DISCARD_MAX_BYTES = 1024 * 1024  # of a refused request
FRAMING_PER_BODY_BYTE = 8  # a chunk of one byte takes six
PIPELINED_MAX = 16
AUTHENTICATED_KEY = "barnabee.authenticated"  # in the ASGI scope


class _Phase(enum.Enum):
    IDLE = enum.auto()  # between requests
    HEADER = enum.auto()
    BODY = enum.auto()
    RESPONSE = enum.auto()  # the request is complete
    REFUSED = enum.auto()


class LimitedHttpProtocol(LimitedConnection, HttpToolsProtocol):
    """HTTP/1.1 connection within the limits."""

    def __init__(self, limiter: ConnectionLimiter, **options: Any) -> None:
        super().__init__(**options)
        self.limiter = limiter
        self._phase = _Phase.HEADER
        self._header_bytes = 0  # of complete header lines
        self._framing_bytes = 0  # all but the body
        self._body_bytes = 0
        self._body_since = 0.0
        self._discarded_bytes = 0

    @property
    def is_serving(self) -> bool:  # type: ignore[override]
        return self._phase is _Phase.RESPONSE

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast("Transport", transport))
        if self.limiter.admit(self):
            self._begin(_Phase.HEADER, self.limiter.limits.header_s)
        else:
            error = Overloaded(what="HTTP server (too many connections)", retry_after_s=1)
            self._respond(error, HTTPStatus.SERVICE_UNAVAILABLE)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._phase is _Phase.IDLE:
            self._begin(_Phase.HEADER, self.limiter.limits.header_s)
        size = self.limiter.limits.header_max_bytes
        for start in range(0, len(data), size):
            if self._phase is _Phase.REFUSED:
                self._discarded_bytes += len(data) - start
                if self._discarded_bytes > DISCARD_MAX_BYTES:
                    self.reset()
                return
            self._feed(data[start : start + size])

    def _feed(self, data: bytes) -> None:
        maximum = self.limiter.limits.header_max_bytes
        self._framing_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.limiter.remove(self)
                self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError:
            self._refuse_header() if self._header_bytes > maximum else self._refuse_junk()
            return
        is_complete = self._phase in {_Phase.IDLE, _Phase.RESPONSE}
        allowed = maximum + FRAMING_PER_BODY_BYTE * self._body_bytes
        if not is_complete and self._framing_bytes > allowed:
            self._refuse_header()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = self._body_bytes = 0
        if self._phase is _Phase.RESPONSE:  # pipelined
            self._begin(_Phase.HEADER, self.limiter.limits.header_s)

    def on_url(self, url: bytes) -> None:
        self._count_header(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > self.limiter.limits.header_max_bytes:
            raise ValueError  # the parser stops

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED_MAX:
            raise ValueError
        super().on_headers_complete()
        self._begin(_Phase.BODY, self.limiter.limits.body_stall_s)
        self._body_since = self.loop.time()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._framing_bytes -= len(body)
        self._body_bytes += len(body)
        limits = self.limiter.limits
        least_s = self._body_bytes / limits.body_min_bytes_per_s
        latest = min(self.loop.time(), self._body_since + least_s)
        self.deadline = latest + limits.body_stall_s

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._framing_bytes = 0
        if self.cycle is None or self.cycle.response_complete:
            self._begin(_Phase.IDLE, self.limiter.limits.keep_alive_s)
        else:
            self._begin(_Phase.RESPONSE, math.inf)
            self.limiter.mark_serving(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:
            self.is_known = bool(self.cycle.scope.get(AUTHENTICATED_KEY))
            self.limiter.mark_waiting(self)
            if self._phase is _Phase.RESPONSE:
                self._begin(_Phase.IDLE, self.limiter.limits.keep_alive_s)

    def end_overdue(self) -> None:
        limits = self.limiter.limits
        if self._phase is _Phase.BODY and (
            self.flow.read_paused or self.cycle.waiting_for_100_continue
        ):  # the application has not asked for more
            self._begin(_Phase.BODY, limits.body_stall_s)
            self._body_since = self.loop.time()
        elif self._phase is _Phase.REFUSED:
            self.reset()
        elif self._phase is _Phase.IDLE or not self._framing_bytes + self._body_bytes:
            self.transport.close()
        else:
            reason = f"it was not complete within {limits.header_s:g} s"
            if self._phase is _Phase.BODY:
                reason = f"its body came more slowly than {limits.body_min_bytes_per_s} bytes/s"
            self._refuse(BadRequest(field="request", reason=reason), HTTPStatus.REQUEST_TIMEOUT)

    def _begin(self, phase: _Phase, within_s: float) -> None:
        self._phase = phase
        self.deadline = self.loop.time() + within_s

    def _refuse_header(self) -> None:
        limit = f"{self.limiter.limits.header_max_bytes} bytes"
        error = TooLarge(field="request header", limit=limit)
        self._refuse(error, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _refuse_junk(self) -> None:
        self._refuse(
            BadRequest(field="request", reason="it is not HTTP/1.1"), HTTPStatus.BAD_REQUEST
        )

    def _refuse(self, error: BarnabeeError, status: HTTPStatus) -> None:
        """Respond and end the connection; what the client still sends is discarded for a moment.

        Closing at once would reset the connection before the client has read the response.
        """
        self.limiter.count_ended(status.phrase.lower().replace(" ", "_"))
        self.limiter.mark_waiting(self)
        has_responded = self._phase is _Phase.BODY and self.cycle.response_complete
        self._begin(_Phase.REFUSED, self.limiter.limits.close_s)
        if has_responded:
            self.transport.write_eof()
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.reset()
                return
        self._respond(error, status)
        self.transport.write_eof()

    def _respond(self, error: BarnabeeError, status: HTTPStatus) -> None:
        tracing.adopt_trace_id(None)
        body = json.dumps(error.body(tracing.get_trace_id())).encode()
        retry = f"retry-after: {error.retry_after_s}\r\n" if error.retry_after_s else ""
        header = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{retry}"
        end = b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], header.encode(), end, body)))


class LimitedWebSocketProtocol(LimitedConnection, WebSocketsSansIOProtocol):
    """WebSocket within the limits; its handshake was an HTTP request."""

    def __init__(self, limiter: ConnectionLimiter, **options: Any) -> None:
        super().__init__(**options)
        self.limiter = limiter

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.limiter.add(self)
        self.deadline = self.loop.time() + self.limiter.limits.first_message_s

    def send_receive_event_to_app(self) -> None:
        self.deadline = math.inf
        super().send_receive_event_to_app()

    def end_overdue(self) -> None:
        self.limiter.count_ended("websocket_without_message")
        self.shutdown()
