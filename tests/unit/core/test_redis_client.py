from __future__ import annotations

import asyncio

import pytest

from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.core.redis_client import Address, RedisLink
from support.wait import free_port


def test_an_address_is_read_whole() -> None:
    found = Address.parse("redis://ann:p%40ss@redis.lan:7000/3")

    assert (found.host, found.port) == ("redis.lan", 7000)
    assert found.greeting == (("AUTH", "ann", "p@ss"), ("SELECT", 3))


def test_a_unix_socket_is_an_address() -> None:
    found = Address.parse("unix:///run/redis.sock?db=2")

    assert found.socket_path == "/run/redis.sock"
    assert found.greeting == (("SELECT", 2),)


def test_the_shortest_address_greets_with_nothing() -> None:
    assert Address.parse("redis://127.0.0.1") == Address("127.0.0.1", 6379, "", ())


@pytest.mark.parametrize("url", ["", "http://x", "redis://x:notaport", "redis://x/notadatabase"])
def test_an_unusable_address_is_named(url: str) -> None:
    with pytest.raises(SettingInvalid, match="REDIS_URL"):
        Address.parse(url)


async def test_nobody_there_is_said_at_once_and_again_without_asking() -> None:
    link = RedisLink(f"redis://127.0.0.1:{free_port()}/0")

    with pytest.raises(DependencyDown, match="redis does not answer"):
        await link.ping()
    with pytest.raises(DependencyDown, match="redis does not answer"):
        await link.ping()


async def answering(content: bytes) -> tuple[asyncio.Server, str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(content)
        await writer.drain()
        await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def test_somebody_else_on_the_port_is_not_redis() -> None:
    server, url = await answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    link = RedisLink(url)
    try:
        with pytest.raises(DependencyDown, match="does not speak Redis"):
            await link.ping()
    finally:
        await link.aclose()
        server.close()


async def test_a_server_that_says_nothing_is_given_up() -> None:
    server, url = await answering(b"")
    link = RedisLink(url, timeout_s=0.1)
    try:
        with pytest.raises(DependencyDown, match=r"no answer for 0\.1 s"):
            await link.ping()
    finally:
        await link.aclose()
        server.close()


async def test_an_error_of_redis_is_told_in_its_words() -> None:
    server, url = await answering(b"-LOADING Redis is loading the dataset in memory\r\n")
    link = RedisLink(url)
    try:
        with pytest.raises(DependencyDown, match="LOADING"):
            await link.ping()
    finally:
        await link.aclose()
        server.close()
