from __future__ import annotations

import pytest

from barnabee.api import web_sessions
from barnabee.api.web_sessions import LoginLinks
from barnabee.core.errors import LinkInvalid
from barnabee.core.redis_client import RedisClient
from support.redis import RedisServer
from support.wait import free_port


async def test_a_link_is_good_once(redis_server: RedisServer) -> None:
    link = RedisClient(redis_server.url)
    used = LoginLinks(link)
    await used.use("nonce")
    with pytest.raises(LinkInvalid):
        await used.use("nonce")
    await link.aclose()


async def test_a_used_link_stays_used_after_a_restart(redis_server: RedisServer) -> None:
    link = RedisClient(redis_server.url)
    await LoginLinks(link).use("nonce")
    with pytest.raises(LinkInvalid):
        await LoginLinks(link).use("nonce")
    ttl_s = await link.command("TTL", web_sessions.KEY + "nonce")
    assert 0 < ttl_s <= 900
    await link.aclose()


async def test_without_redis_memory_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_sessions, "KEPT", 3)
    used = LoginLinks(RedisClient(f"redis://127.0.0.1:{free_port()}/0"))
    for number in range(10):
        await used.use(str(number))
    with pytest.raises(LinkInvalid):
        await used.use("9")
    assert len(used._seen) == 3
