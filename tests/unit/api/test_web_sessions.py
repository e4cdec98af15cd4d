"""Web sessions: persistence, expiry and revocation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from barnabee.api import web_sessions
from barnabee.api.web_sessions import (
    LAST_SEEN_EVERY_S,
    MAX_SESSIONS,
    LoginLinks,
    WebSessions,
    describe_user_agent,
)
from barnabee.core.auth import COOKIE_LIFETIME_S
from barnabee.core.errors import LinkInvalid
from barnabee.core.redis_client import RedisClient
from support.clock import FakeClock
from support.redis import RedisServer
from support.wait import find_free_port

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1"


def test_session_survives_a_restart_until_revoked(tmp_path: Path) -> None:
    file, clock = tmp_path / "browsers.json", FakeClock()
    session_id = WebSessions(file, clock).create(PHONE)
    again = WebSessions(file, clock)
    assert again.touch(session_id)
    assert [one.name for one in again.list_all()] == ["Safari on iPhone"]
    assert again.revoke(session_id)
    assert not again.touch(session_id)
    assert not again.revoke(session_id)
    assert not WebSessions(file, clock).touch(session_id)


def test_file_is_readable_by_the_owner_only(tmp_path: Path) -> None:
    WebSessions(tmp_path / "browsers.json", FakeClock()).create("")
    assert (tmp_path / "browsers.json").stat().st_mode & 0o777 == 0o600


def test_unused_session_expires_with_its_cookie(tmp_path: Path) -> None:
    clock = FakeClock()
    sessions = WebSessions(tmp_path / "browsers.json", clock)
    session_id = sessions.create(PHONE)
    clock.now_s += COOKIE_LIFETIME_S - 1
    assert sessions.touch(session_id)
    clock.now_s += COOKIE_LIFETIME_S - 1
    assert sessions.touch(session_id)
    clock.now_s += COOKIE_LIFETIME_S + LAST_SEEN_EVERY_S + 1
    assert not sessions.touch(session_id)


def test_least_recently_used_session_is_revoked_at_the_limit(tmp_path: Path) -> None:
    clock = FakeClock()
    sessions = WebSessions(tmp_path / "browsers.json", clock)
    ids = []
    for _ in range(MAX_SESSIONS + 1):
        ids.append(sessions.create(PHONE))
        clock.now_s += 1
    assert not sessions.touch(ids[0])
    assert all(sessions.touch(one) for one in ids[1:])


@pytest.mark.parametrize("text", ["", "[", '{"a": 1}', '[{"id": "x"}]', "[1]", "null"])
def test_invalid_file_counts_as_empty(tmp_path: Path, text: str) -> None:
    file = tmp_path / "browsers.json"
    file.write_text(text, encoding="utf-8")
    sessions = WebSessions(file, FakeClock())
    assert sessions.list_all() == []
    sessions.create(PHONE)
    assert len(json.loads(file.read_text(encoding="utf-8"))) == 1


def test_without_a_writable_directory_sessions_last_until_restart(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "browsers.json"
    sessions = WebSessions(file, FakeClock())
    session_id = sessions.create(PHONE)
    assert sessions.touch(session_id)
    assert not WebSessions(file, FakeClock()).touch(session_id)


NAMES = [
    ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/150.0", "Firefox on Linux"),
    ("Mozilla/5.0 (Linux; Android 16) Chrome/150.0 Mobile Safari/537.36", "Chrome on Android"),
    ("Mozilla/5.0 (Windows NT 10.0) Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
    ("curl/8.9", "curl/8.9"),
    ("x\x00\n" * 100, "x" * 40),
    ("", "a browser"),
]


@pytest.mark.parametrize(("agent", "name"), NAMES)
def test_user_agent_is_described_briefly(agent: str, name: str) -> None:
    assert describe_user_agent(agent) == name


async def test_link_is_valid_once(redis_server: RedisServer) -> None:
    redis = RedisClient(redis_server.url)
    links = LoginLinks(redis)
    await links.use("nonce")
    with pytest.raises(LinkInvalid):
        await links.use("nonce")
    await redis.aclose()


async def test_used_link_stays_used_after_a_restart(redis_server: RedisServer) -> None:
    redis = RedisClient(redis_server.url)
    await LoginLinks(redis).use("nonce")
    with pytest.raises(LinkInvalid):
        await LoginLinks(redis).use("nonce")
    ttl_s = await redis.ttl(web_sessions.LINK_KEY_PREFIX + "nonce")
    assert 0 < ttl_s <= 900
    await redis.aclose()


async def test_without_redis_used_links_are_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_sessions, "MAX_USED_LINKS", 3)
    links = LoginLinks(RedisClient(f"redis://127.0.0.1:{find_free_port()}/0"))
    for number in range(10):
        await links.use(str(number))
    with pytest.raises(LinkInvalid):
        await links.use("9")
    assert len(links._used) == 3
