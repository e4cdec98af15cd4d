"""Sessions in a real Redis that is killed and restarted."""

from __future__ import annotations

from barnabee.core.redis_client import RedisClient
from barnabee.store.sessions import KEY_PREFIX, Exchange, Session, Sessions
from support.redis import RedisServer
from support.wait import eventually

ONE = Exchange("turn it on", "done", "home")
TWO = Exchange("and off", "done", "home")


async def test_a_session_expires_in_redis(redis_server: RedisServer) -> None:
    link = RedisClient(redis_server.url)
    sessions = Sessions(link, ttl_s=1800, max_turns=20)

    await sessions.save(Session("s", (ONE,)))

    assert 1790 <= await link.ttl(KEY_PREFIX + "s") <= 1800
    assert await Sessions(link, 1800, 20).load("s") == Session("s", (ONE,))
    await link.aclose()


async def test_a_conversation_survives_a_redis_outage(
    redis_server: RedisServer,
) -> None:
    link = RedisClient(redis_server.url)
    sessions = Sessions(link, ttl_s=1800, max_turns=20)
    await sessions.save(Session("s", (ONE,)))

    redis_server.kill()
    during = (await sessions.load("s")).with_turn(TWO)
    await sessions.save(during)
    assert sessions.degraded
    assert await sessions.load("s") == Session("s", (ONE, TWO))

    redis_server.start()

    async def has_recovered() -> bool:
        await sessions.load("s")
        return not sessions.degraded

    assert await eventually(has_recovered)
    other = RedisClient(redis_server.url)
    assert await Sessions(other, 1800, 20).load("s") == Session("s", (ONE, TWO))
    await link.aclose()
    await other.aclose()
