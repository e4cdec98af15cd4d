"""Connections of the Wyoming server: how many, how long, and what ends one.

The protocol has no authentication: every client that reaches the port may talk. The address is that
of `[wyoming]`, by default this machine's alone.
"""

from __future__ import annotations

import asyncio
import socket
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import structlog
from prometheus_client import Gauge
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event

from barnabee.core import tracing
from barnabee.core.errors import BadInput, BarnabeeError, Overloaded, TimedOut
from barnabee.core.metrics import Metrics
from barnabee.wyoming.events import LINE_MAX_BYTES, read_event
from barnabee.wyoming.requests import RequestHandler

CONNECTIONS_MAX = 64
IDLE_S = 300.0  # without an event from the client
WRITE_S = 10.0  # for the client to read what is buffered for it
CLOSE_S = 1.0
_METHOD = "WYOMING"  # label of the request metrics
_OK, _INVALID, _FAILED = 200, 400, 503

log = structlog.get_logger()

# Makes the handler of one connection, which sends its answers by the function given.
HandlerFactory = Callable[["Connection"], RequestHandler]


class Connection:
    """One client's connection, as its request handler sees it."""

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer

    async def send(self, message: Eventable | Event) -> None:
        """Send an event; TimedOut when the client does not read, ConnectionError when it left."""
        event = message if isinstance(message, Event) else message.event()
        try:
            async with asyncio.timeout(WRITE_S):
                await async_write_event(event, self._writer)
        except TimeoutError as error:
            raise TimedOut(what="the Wyoming client", limit=f"{WRITE_S:g} s") from error


class WyomingServer:
    """Accepts connections and answers their events, those of one connection in order."""

    def __init__(self, make_handler: HandlerFactory, metrics: Metrics) -> None:
        self._make_handler = make_handler
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        gauge = Gauge(
            "barnabee_wyoming_connections", "Connected Wyoming clients.", registry=metrics.registry
        )
        gauge.set_function(lambda: len(self._tasks))

    @property
    def connections(self) -> int:
        return len(self._tasks)

    @property
    def is_serving(self) -> bool:
        return self._server is not None and self._server.is_serving()

    async def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket."""
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=LINE_MAX_BYTES)

    async def stop(self) -> None:
        """Stop accepting, and end all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        connection = Connection(writer)
        try:
            if len(self._tasks) > CONNECTIONS_MAX:
                await self._refuse(connection, Overloaded(what="The Wyoming server"))
            else:
                await self._serve(reader, connection)
        except (OSError, TimedOut):
            pass  # the client left, or does not read
        except asyncio.CancelledError:
            if not writer.is_closing():
                writer.transport.abort()
        finally:
            self._tasks.discard(task)
            await _close(reader, writer)

    async def _serve(self, reader: StreamReader, connection: Connection) -> None:
        async with self._make_handler(connection) as handler:
            while True:
                try:
                    async with asyncio.timeout(IDLE_S):
                        event = await read_event(reader)
                except TimeoutError:
                    return
                except BadInput as error:  # what follows cannot be read either
                    await self._refuse(connection, error)
                    return
                if event is None or not await self._answer(handler, event, connection):
                    return

    async def _answer(self, handler: RequestHandler, event: Event, connection: Connection) -> bool:
        """Answer one event; return whether it succeeded.

        After an `error` the connection has to end: Home Assistant 2026.2 does not know that event
        and would wait for the rest of the answer.
        """
        if not handler.knows(event.type):
            return True  # as the protocol wants it: events of a newer version
        tracing.adopt_trace_id(None)
        name, start_s, status = handler.name_request(event.type), time.monotonic(), _OK
        try:
            await handler.handle(event)
        except BarnabeeError as error:
            status = _INVALID if isinstance(error, BadInput) else _FAILED
            await self._refuse(connection, error)
        if name is not None:
            spent_s = time.monotonic() - start_s
            self._metrics.observe_request(_METHOD, name, status, spent_s)
        return status == _OK

    async def _refuse(self, connection: Connection, error: BarnabeeError) -> None:
        self._metrics.count_error(error.code)
        log.warning("wyoming_refused", code=error.code, reason=str(error))
        await connection.send(Error(text=str(error), code=error.code))


async def _close(reader: StreamReader, writer: StreamWriter) -> None:
    """Close after the client has read what was sent: unread input would reset the connection."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            if not writer.is_closing():
                writer.write_eof()
                while await reader.read(LINE_MAX_BYTES):
                    pass
    writer.close()
