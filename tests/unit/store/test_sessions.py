from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.errors import DependencyDown
from barnabee.core.redis_client import RedisClient
from barnabee.store.sessions import KEY_PREFIX, MAX_IN_MEMORY, Exchange, Session, Sessions
from support.clock import FakeClock

TTL_S = 100
contexts = st.dictionaries(st.text(), st.lists(st.text() | st.integers(-(2**53), 2**53)))
exchanges = st.builds(Exchange, st.text(), st.text(), st.text(), contexts)


class FakeRedis(RedisClient):
    """GET, SET and PING over a dictionary; `down` makes them fail."""

    def __init__(self) -> None:
        super().__init__("redis://")
        self.values: dict[str, bytes] = {}
        self.ttls_s: dict[str, int] = {}
        self.down = False
        self.calls = 0

    async def execute_command(self, *parts: Any, **_options: Any) -> Any:
        self.calls += 1
        if self.down:
            raise DependencyDown(dependency="redis", reason="stopped by the test")
        match parts:
            case ("GET", key):
                return self.values.get(key)
            case ("SET", key, text, "EX", ttl_s):
                self.values[key], self.ttls_s[key] = text, ttl_s
        return b"OK"


def make(max_turns: int = 3) -> tuple[Sessions, FakeRedis, FakeClock]:
    redis, clock = FakeRedis(), FakeClock()
    return Sessions(redis, TTL_S, max_turns, clock=clock), redis, clock


def make_session(session_id: str, *utterances: str) -> Session:
    return Session(session_id, tuple(Exchange(text, f"re {text}", "chat") for text in utterances))


@given(st.lists(exchanges, max_size=5))
def test_a_session_survives_a_round_trip_through_json(turns: list[Exchange]) -> None:
    session = Session("s", tuple(turns))

    assert Session.loads("s", session.dumps()) == session


def test_a_session_of_an_older_version_has_no_context() -> None:
    session = Session.loads("s", b'[["hi", "Hello.", "greeting"]]')
    assert session.turns == (Exchange("hi", "Hello.", "greeting", {}),)


async def test_an_unknown_session_is_empty() -> None:
    sessions, _, _ = make()

    assert await sessions.load("new") == Session("new")


async def test_loading_and_saving_take_one_round_trip_each() -> None:
    sessions, redis, _ = make()

    await sessions.save(make_session("s", "a"))
    await sessions.load("s")

    assert redis.calls == 2
    assert redis.ttls_s == {KEY_PREFIX + "s": TTL_S}


async def test_only_the_last_turns_are_saved() -> None:
    sessions, _, _ = make(max_turns=2)

    await sessions.save(make_session("s", "a", "b", "c"))

    assert await sessions.load("s") == make_session("s", "b", "c")


async def test_a_session_saved_by_another_process_is_loaded() -> None:
    sessions, redis, _ = make()
    await sessions.save(make_session("s", "old"))
    redis.values[KEY_PREFIX + "s"] = make_session("s", "new").dumps()

    assert await sessions.load("s") == make_session("s", "new")


async def test_a_session_expired_in_redis_is_empty() -> None:
    sessions, redis, _ = make()
    await sessions.save(make_session("s", "a"))
    redis.values.clear()

    assert await sessions.load("s") == Session("s")


async def test_an_unreadable_value_starts_an_empty_session() -> None:
    sessions, redis, _ = make()

    for text in (b"not json", b"3", b'[["one"]]', b"\xff"):
        redis.values[KEY_PREFIX + "s"] = text
        assert await sessions.load("s") == Session("s")


async def test_a_conversation_continues_while_redis_is_down() -> None:
    sessions, redis, _ = make()
    await sessions.save(make_session("s", "before"))

    redis.down = True
    assert await sessions.load("s") == make_session("s", "before")
    await sessions.save(make_session("s", "before", "during"))

    assert sessions.degraded
    assert await sessions.load("s") == make_session("s", "before", "during")


async def test_an_outage_costs_one_attempt_each_half_second() -> None:
    sessions, redis, clock = make()
    redis.down = True
    await sessions.load("s")
    calls = redis.calls

    for _ in range(10):
        await sessions.load("s")
        await sessions.save(make_session("s", "a"))
    assert redis.calls == calls
    clock.now_s += 0.6
    await sessions.load("s")
    assert redis.calls == calls + 1


async def test_missed_writes_are_written_back_with_their_remaining_ttl() -> None:
    sessions, redis, clock = make()
    redis.down = True
    await sessions.save(make_session("a", "one"))
    await sessions.save(make_session("b", "two"))

    redis.down = False
    clock.now_s += 30
    await sessions.load("a")

    assert not sessions.degraded
    assert redis.values == {
        KEY_PREFIX + "a": make_session("a", "one").dumps(),
        KEY_PREFIX + "b": make_session("b", "two").dumps(),
    }
    assert redis.ttls_s == {KEY_PREFIX + "a": TTL_S - 30, KEY_PREFIX + "b": TTL_S - 30}


async def test_a_session_expires_in_memory_too() -> None:
    sessions, redis, clock = make()
    redis.down = True
    await sessions.save(make_session("s", "a"))

    clock.now_s += TTL_S + 1
    assert await sessions.load("s") == Session("s")
    redis.down = False
    clock.now_s += 1
    await sessions.load("s")

    assert redis.values == {}


async def test_memory_is_bounded() -> None:
    sessions, redis, _ = make()
    redis.down = True

    for number in range(MAX_IN_MEMORY + 5):
        await sessions.save(make_session(str(number), "a"))

    assert await sessions.load("0") == Session("0")
    assert await sessions.load("5") == make_session("5", "a")
