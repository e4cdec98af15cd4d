from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.errors import DependencyDown
from barnabee.store.sessions import KEPT_IN_MEMORY, KEY, Exchange, Session, Sessions

TTL_S = 100
exchanges = st.builds(Exchange, st.text(), st.text(), st.text())


class FakeRedis:
    """Three commands of Redis over a dictionary; `down` makes it vanish."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.lifetimes: dict[str, int] = {}
        self.down = False
        self.calls = 0

    async def command(self, *parts: Any) -> Any:
        self.calls += 1
        if self.down:
            raise DependencyDown(dependency="redis", reason="a test took it away")
        match parts:
            case ("GET", key):
                return self.held.get(key)
            case ("SET", key, text, "EX", ttl_s):
                self.held[key], self.lifetimes[key] = text, ttl_s
        return b"OK"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def make(turns_kept: int = 3) -> tuple[Sessions, FakeRedis, Clock]:
    redis, clock = FakeRedis(), Clock()
    return Sessions(redis, TTL_S, turns_kept, clock=clock), redis, clock


def talk(session_id: str, *utterances: str) -> Session:
    return Session(session_id, tuple(Exchange(one, f"re {one}", "chat") for one in utterances))


@given(st.lists(exchanges, max_size=5))
def test_a_session_survives_its_text(turns: list[Exchange]) -> None:
    session = Session("s", tuple(turns))

    assert Session.loads("s", session.dumps()) == session


async def test_an_unknown_session_is_empty() -> None:
    sessions, _, _ = make()

    assert await sessions.load("new") == Session("new")


async def test_loading_and_saving_take_one_round_trip_each() -> None:
    sessions, redis, _ = make()

    await sessions.save(talk("s", "a"))
    await sessions.load("s")

    assert redis.calls == 2
    assert redis.lifetimes == {KEY + "s": TTL_S}


async def test_only_the_last_turns_are_kept() -> None:
    sessions, _, _ = make(turns_kept=2)

    await sessions.save(talk("s", "a", "b", "c"))

    assert await sessions.load("s") == talk("s", "b", "c")


async def test_what_another_process_saved_is_seen() -> None:
    sessions, redis, _ = make()
    await sessions.save(talk("s", "old"))
    redis.held[KEY + "s"] = talk("s", "new").dumps()

    assert await sessions.load("s") == talk("s", "new")


async def test_what_redis_forgot_is_forgotten() -> None:
    sessions, redis, _ = make()
    await sessions.save(talk("s", "a"))
    redis.held.clear()

    assert await sessions.load("s") == Session("s")


async def test_a_key_of_somebody_else_starts_an_empty_session() -> None:
    sessions, redis, _ = make()

    for text in (b"not json", b"3", b'[["one"]]', b"\xff"):
        redis.held[KEY + "s"] = text
        assert await sessions.load("s") == Session("s")


async def test_a_conversation_goes_on_while_redis_is_away() -> None:
    sessions, redis, _ = make()
    await sessions.save(talk("s", "before"))

    redis.down = True
    assert await sessions.load("s") == talk("s", "before")
    await sessions.save(talk("s", "before", "during"))

    assert sessions.degraded
    assert await sessions.load("s") == talk("s", "before", "during")


async def test_an_outage_costs_one_try_each_half_second() -> None:
    sessions, redis, clock = make()
    redis.down = True
    await sessions.load("s")
    calls = redis.calls

    for _ in range(10):
        await sessions.load("s")
        await sessions.save(talk("s", "a"))
    assert redis.calls == calls
    clock.now_s += 0.6
    await sessions.load("s")
    assert redis.calls == calls + 1


async def test_what_redis_missed_is_written_back_with_its_remaining_time() -> None:
    sessions, redis, clock = make()
    redis.down = True
    await sessions.save(talk("a", "one"))
    await sessions.save(talk("b", "two"))

    redis.down = False
    clock.now_s += 30
    await sessions.load("a")

    assert not sessions.degraded
    assert redis.held == {KEY + "a": talk("a", "one").dumps(), KEY + "b": talk("b", "two").dumps()}
    assert redis.lifetimes == {KEY + "a": TTL_S - 30, KEY + "b": TTL_S - 30}


async def test_a_session_expires_in_memory_too() -> None:
    sessions, redis, clock = make()
    redis.down = True
    await sessions.save(talk("s", "a"))

    clock.now_s += TTL_S + 1
    assert await sessions.load("s") == Session("s")
    redis.down = False
    clock.now_s += 1
    await sessions.load("s")

    assert redis.held == {}


async def test_memory_is_bounded() -> None:
    sessions, redis, _ = make()
    redis.down = True

    for number in range(KEPT_IN_MEMORY + 5):
        await sessions.save(talk(str(number), "a"))

    assert await sessions.load("0") == Session("0")
    assert await sessions.load("5") == talk("5", "a")
