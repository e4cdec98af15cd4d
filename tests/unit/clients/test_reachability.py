"""Reachability of external servers: SMTP greeting and HTTP status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from barnabee.api import health
from barnabee.core.errors import DependencyDown, SettingInvalid
from support.wait import free_port, until


@asynccontextmanager
async def mail_server(greeting: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    received: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        if greeting:
            received.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], received


async def test_mail_server_that_greets_is_reachable_and_gets_quit() -> None:
    async with mail_server(b"220 mx.example ESMTP ready\r\n") as (port, received):
        await health.check_mail_server("smtp", "127.0.0.1", port)
        await until(lambda: received == [b"QUIT\r\n"])


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"554 go away\r\n", "554 go away"),
        (b"HTTP/1.1 400\r\n", "HTTP/1.1 400"),
        (b"", "connection closed"),
    ],
)
async def test_mail_server_without_greeting_is_down(greeting: bytes, reason: str) -> None:
    async with mail_server(greeting) as (port, _):
        with pytest.raises(DependencyDown, match=reason):
            await health.check_mail_server("smtp", "127.0.0.1", port)


async def test_unreachable_mail_server_is_down() -> None:
    with pytest.raises(DependencyDown, match="smtp"):
        await health.check_mail_server("smtp", "127.0.0.1", free_port())


@pytest.mark.parametrize(
    ("status", "reachable"), [(200, True), (401, True), (404, True), (503, False)]
)
async def test_web_server_is_reachable_below_status_500(status: int, *, reachable: bool) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status))
    async with httpx.AsyncClient(transport=transport) as http:
        if reachable:
            await health.check_web_server("acs", http, "https://acs")
        else:
            with pytest.raises(DependencyDown, match="503"):
                await health.check_web_server("acs", http, "https://acs")


@pytest.mark.parametrize("value", ["smtp.gmail.com", "smtp:0", ":25", "smtp:99999", "smtp:abc"])
def test_mail_server_needs_host_and_port(value: str) -> None:
    with pytest.raises(SettingInvalid, match="ALERT_MAIL_SMARTHOST"):
        health.parse_mail_server("ALERT_MAIL_SMARTHOST", value)


def test_addresses_are_parsed() -> None:
    assert health.parse_mail_server("X", "smtp.gmail.com:587") == ("smtp.gmail.com", 587)
    assert health.parse_mail_server("X", "[::1]:25") == ("::1", 25)
    with pytest.raises(SettingInvalid, match="ACS"):
        health.parse_web_server("ACS", "x.communication.azure.com")
