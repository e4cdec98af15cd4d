"""Web sessions: browsers that are logged in, in a file beside the database; one-time login links.

The sessions are not in the database: a restored replica must not bring back revoked sessions, and
login must work while the database does not. A cookie is valid only while its session is listed. If
the file cannot be written, a login lasts until the next restart, and a warning is logged.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from barnabee.core.auth import COOKIE_LIFETIME_S, LINK_LIFETIME_S, make_id
from barnabee.core.errors import LinkInvalid, Unavailable
from barnabee.core.files import write_atomically
from barnabee.core.redis_client import RedisClient

MAX_SESSIONS = 64  # beyond that the least recently used session is revoked
LAST_SEEN_EVERY_S = 3600  # resolution of `seen_s`, so that not every request writes the file
MAX_NAME_CHARS = 40
LINK_KEY_PREFIX = "barnabee:login:"
MAX_USED_LINKS = 1024

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WebSession:
    """Session of one browser; times in seconds since the epoch."""

    id: str
    name: str
    since_s: int
    seen_s: int


class WebSessions:
    """All web sessions, in memory and in `file`. A file that cannot be read counts as empty."""

    def __init__(self, file: Path, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._sessions = {session.id: session for session in _read_sessions(file)}
        self.on_revoked: Callable[[str], None] = lambda _session_id: None

    def touch(self, session_id: str) -> bool:
        """Return whether the session is valid, and update when it was last seen."""
        session = self._sessions.get(session_id)
        if session is None:
            return False
        now_s = int(self._clock())
        if (
            now_s - session.since_s > COOKIE_LIFETIME_S
            and now_s - session.seen_s > COOKIE_LIFETIME_S
        ):
            return False
        if now_s - session.seen_s > LAST_SEEN_EVERY_S:
            self._sessions[session_id] = replace(session, seen_s=now_s)
            self._write()
        return True

    def create(self, user_agent: str) -> str:
        """Create a session for a browser; return its id."""
        now_s = int(self._clock())
        session = WebSession(make_id(), describe_user_agent(user_agent), now_s, now_s)
        self._sessions[session.id] = session
        while len(self._sessions) > MAX_SESSIONS:
            oldest = min(self._sessions.values(), key=lambda one: one.seen_s)
            del self._sessions[oldest.id]
            self.on_revoked(oldest.id)
        self._write()
        return session.id

    def revoke(self, session_id: str) -> bool:
        """End a session; return False if there is none with this id."""
        if self._sessions.pop(session_id, None) is None:
            return False
        self._write()
        self.on_revoked(session_id)
        return True

    def revoke_all(self) -> None:
        """End all sessions."""
        for session_id in list(self._sessions):
            self.revoke(session_id)

    def list_all(self) -> list[WebSession]:
        """Return all sessions, the most recently used first."""
        return sorted(self._sessions.values(), key=lambda one: (-one.seen_s, one.id))

    def _write(self) -> None:
        text = json.dumps([asdict(session) for session in self._sessions.values()], indent=1)
        try:
            write_atomically(self._file, text, mode=0o600, durable=True)
        except OSError as error:
            log.warning("web_sessions_not_saved", code="database_read_only", reason=str(error))


# The first match counts, because browsers also name those that they are compatible with.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "Mac"),
    ("Linux", "Linux"),
)


def describe_user_agent(user_agent: str) -> str:
    """Return a short name for a `User-Agent` header, such as "Safari on iPhone". Pure."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    name = " on ".join(filter(None, (browser, system)))
    printable = "".join(character for character in user_agent if character.isprintable())
    return name or printable[:MAX_NAME_CHARS] or "a browser"


def _read_sessions(file: Path) -> list[WebSession]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return [
            WebSession(str(row["id"]), str(row["name"]), int(row["since_s"]), int(row["seen_s"]))
            for row in rows
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("web_sessions_unreadable", code="bad_request", reason=f"{file}: {error}")
        return []


class LoginLinks:
    """Used login links, in Redis until they expire and in memory.

    Memory is enough for one process; Redis also covers a restart.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._used: OrderedDict[str, None] = OrderedDict()

    async def use(self, nonce: str) -> None:
        """Mark the link as used; LinkInvalid if it was used before."""
        if nonce in self._used:
            raise LinkInvalid
        self._used[nonce] = None
        if len(self._used) > MAX_USED_LINKS:
            self._used.popitem(last=False)
        try:
            is_first = await self._redis.set(
                LINK_KEY_PREFIX + nonce, "1", nx=True, ex=LINK_LIFETIME_S
            )
        except Unavailable:
            return
        if is_first is None:
            raise LinkInvalid
