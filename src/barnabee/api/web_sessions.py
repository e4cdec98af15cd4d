"""The browsers that are logged in, each of which can be shown out: a file beside the database.

Not in the database, because a restored replica must not let anybody in who was shown out since, and
because logging in must work while the database does not. A cookie counts only while its browser is
in here; a file that cannot be written makes a login last until the next restart, and says so.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from barnabee.core.auth import COOKIE_LIFETIME_S, LINK_LIFETIME_S, make_id
from barnabee.core.errors import LinkInvalid, Unavailable
from barnabee.core.redis_client import RedisClient

KEPT = 64  # browsers; the one not seen for longest goes
SEEN_EVERY_S = 3600  # how exactly it is remembered when a browser was last here
_NAME_MAX = 40

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WebSession:
    """One browser that is logged in; times in seconds since the epoch."""

    id: str
    name: str
    since_s: int
    seen_s: int


class WebSessions:
    """All of them, in memory and in `file`."""

    def __init__(self, file: Path, clock: Callable[[], float]) -> None:
        """Read the file; one that cannot be read lets nobody in."""
        self._file = file
        self._clock = clock
        self._known = {one.id: one for one in _read(file)}

    def lets_in(self, browser: str) -> bool:
        """Return whether this one is logged in, and remember that it was here."""
        known = self._known.get(browser)
        if known is None:
            return False
        now_s = int(self._clock())
        if now_s - known.since_s > COOKIE_LIFETIME_S and now_s - known.seen_s > COOKIE_LIFETIME_S:
            return False
        if now_s - known.seen_s > SEEN_EVERY_S:
            self._known[browser] = replace(known, seen_s=now_s)
            self._write()
        return True

    def add(self, user_agent: str) -> str:
        """Let one more in; return its id."""
        now_s = int(self._clock())
        browser = WebSession(make_id(), describe_user_agent(user_agent), now_s, now_s)
        self._known[browser.id] = browser
        while len(self._known) > KEPT:
            oldest = min(self._known.values(), key=lambda one: one.seen_s)
            del self._known[oldest.id]
        self._write()
        return browser.id

    def remove(self, browser: str) -> bool:
        """Show one out; False when it was not in."""
        if self._known.pop(browser, None) is None:
            return False
        self._write()
        return True

    def all(self) -> list[WebSession]:
        """Return them, the one seen last first."""
        return sorted(self._known.values(), key=lambda one: (-one.seen_s, one.id))

    def _write(self) -> None:
        text = json.dumps([asdict(one) for one in self._known.values()], indent=1)
        new = self._file.with_name(f"{self._file.name}.new")
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._file)
        except OSError as error:
            log.warning("browsers_not_kept", code="database_read_only", reason=str(error))


# What a person calls it; the first that is in the header, because each names those before it too.
_MAKERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "Mac"),
    ("Linux", "Linux"),
)


def describe_user_agent(user_agent: str) -> str:
    """Return what a person would call this browser. Pure."""
    maker = next((name for mark, name in _MAKERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    named = " on ".join(filter(None, (maker, system)))
    plain = "".join(one for one in user_agent if one.isprintable())
    return named or plain[:_NAME_MAX] or "a browser"


def _read(file: Path) -> list[WebSession]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return [
            WebSession(str(row["id"]), str(row["name"]), int(row["since_s"]), int(row["seen_s"]))
            for row in rows
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("browsers_forgotten", code="bad_request", reason=f"{file}: {error}")
        return []


KEY = "barnabee:login:"
KEPT = 1024


class LoginLinks:
    """The links that were used."""

    def __init__(self, redis: RedisClient) -> None:
        """Know of none yet."""
        self._redis = redis
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def use(self, nonce: str) -> None:
        """Count the link as used; LinkUsed when it was."""
        if nonce in self._seen:
            raise LinkInvalid
        self._seen[nonce] = None
        if len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        try:
            first = await self._redis.command("SET", KEY + nonce, "1", "NX", "EX", LINK_LIFETIME_S)
        except Unavailable:
            return
        if first is None:
            raise LinkInvalid
