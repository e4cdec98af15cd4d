"""Authentication: bearer tokens, session cookies and one-time login links.

Cookies and links are signed with the admin token (HMAC-SHA256, compared in constant time), which
only the api and the command line hold. The caller stores which links were used and which browsers
have a session. Knows no web framework.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from barnabee.core.errors import LinkInvalid
from barnabee.core.files import WatchedFile
from barnabee.core.settings import find_credential, read_credential, require_credential
from barnabee.core.tokens import (
    TOKENS_FILE,
    Scope,
    TokenTable,
    make_entry,
)

COOKIE_NAME = "barnabee_session"
COOKIE_LIFETIME_S = 30 * 86_400
LINK_LIFETIME_S = 900
STREAM_CHECK_EVERY_S = 0.5
ACTING_FOR_HEADER = b"x-barnabee-client"
MAX_CLIENT_CHARS = 64
_COOKIE = re.compile(rf"(?:^|;)[ \t]*{COOKIE_NAME}[ \t]*=([^;]*)")
_COOKIE_HEADER_MAX_CHARS = 16 * 1024
# Expiry, id and signature: other values cost no HMAC.
_SEALED = re.compile(r"([0-9]{1,12})\.([0-9a-f]{16})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Client:
    """An authenticated client: `token:NAME` or `browser:ID`, and what it may do."""

    name: str
    scope: Scope
    acting_for: str = ""  # name of the client that one of our services calls for

    @property
    def is_browser(self) -> bool:
        return self.name.startswith("browser:")

    @property
    def is_service(self) -> bool:
        """Whether it is one of our services, which may act for the client that called it."""
        return self.name == f"token:{self.scope}"


class Authenticator:
    """Checks and issues credentials.

    `admin_token` signs cookies and links; a service without it accepts only the tokens of `table`.
    """

    def __init__(
        self,
        admin_token: str | Callable[[], str] = "",
        is_browser_allowed: Callable[[str], bool] = lambda _browser_id: False,
        table: TokenTable | None = None,
    ) -> None:
        self._read_key = admin_token if callable(admin_token) else lambda: str(admin_token)
        self._is_browser_allowed = is_browser_allowed
        self._table = table or TokenTable(fixed=[make_entry(Scope.ADMIN, self._read_key())])

    def identify_client(
        self, authorization: str | None, cookie: str | None, now_s: float
    ) -> Client | None:
        """Return the client of a request, or None for an unauthenticated one."""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            entry = self._table.find(given.strip(), now_s)
            if entry is not None:
                return Client(f"token:{entry.name}", entry.scope)
        browser_id = self.read_cookie(cookie, now_s)
        allowed = browser_id and self._is_browser_allowed(browser_id)
        return Client(f"browser:{browser_id}", Scope.ADMIN) if allowed else None

    def identify(self, headers: Mapping[bytes, str], now_s: float) -> Client | None:
        """Return the client of a request, also of one that a service sends for its client."""
        authorization, cookie = headers.get(b"authorization"), headers.get(b"cookie")
        client = self.identify_client(authorization, cookie, now_s)
        acting_for = headers.get(ACTING_FOR_HEADER)
        if client is not None and client.is_service and acting_for:
            return replace(client, acting_for=acting_for[:MAX_CLIENT_CHARS])
        return client

    def may_continue(self, client: Client, headers: Mapping[bytes, str], now_s: float) -> bool:
        """Return whether a stream that `client` opened with `headers` may stay open."""
        kind, _, name = client.acting_for.partition(":")
        if not client.acting_for:
            return self.identify(headers, now_s) == client
        return kind == "browser" or self._table.has_name(name)  # the api ends those of browsers

    def read_cookie(self, cookie: str | None, now_s: float) -> str | None:
        """Return the browser id of a `Cookie` header, or None if unsigned or expired."""
        value = find_session_cookie(cookie or "")
        return self._verify("cookie", value, now_s) if value else None

    def make_cookie(self, browser_id: str, now_s: float) -> str:
        """Return a cookie value that is valid for `COOKIE_LIFETIME_S`."""
        return self._seal("cookie", now_s + COOKIE_LIFETIME_S, browser_id)

    def make_link_key(self, now_s: float) -> str:
        """Return the key of a login link that is valid for `LINK_LIFETIME_S`."""
        return self._seal("link", now_s + LINK_LIFETIME_S, make_id())

    def read_link_key(self, key: str, now_s: float) -> str:
        """Return the nonce of a link key, which the caller must accept only once.

        Raises LinkInvalid for a wrong signature or an expired link.
        """
        nonce = self._verify("link", key, now_s)
        if nonce is None:
            raise LinkInvalid
        return nonce

    def _seal(self, purpose: str, until_s: float, name: str) -> str:
        body = f"{int(until_s)}.{name}"
        return f"{body}.{self._sign(purpose, body)}"

    def _verify(self, purpose: str, value: str, now_s: float) -> str | None:
        parts = _SEALED.fullmatch(value)
        if parts is None or not self._read_key():
            return None
        until, name, signature = parts.groups()
        expected = self._sign(purpose, f"{until}.{name}")
        is_valid = hmac.compare_digest(signature, expected) and now_s <= int(until)
        return name if is_valid else None

    def _sign(self, purpose: str, body: str) -> str:
        message = f"{purpose}:{body}".encode()
        return hmac.new(self._read_key().encode(), message, hashlib.sha256).hexdigest()


def find_session_cookie(header: str) -> str | None:
    """Return the last session cookie of a `Cookie` header, in linear time. Pure.

    Escapes in a quoted value stay as they are: ours have none.
    """
    if len(header) > _COOKIE_HEADER_MAX_CHARS or COOKIE_NAME not in header:
        return None
    found = None
    for match in _COOKIE.finditer(header):
        found = match[1].strip(" \t")
        if found[:1] == found[-1:] == '"' and len(found) > 1:
            found = found[1:-1]
    return found


def open_authenticator(
    is_browser_allowed: Callable[[str], bool] = lambda _browser_id: False,
) -> Authenticator:
    """Return the authenticator of a service with the credentials that it has."""
    file = find_credential(TOKENS_FILE)
    held = [(scope, read_credential(scope.credential)) for scope in Scope]
    # Without a list of tokens, the service accepts those that it holds.
    fixed = [make_entry(scope, token) for scope, token in held if token]
    if file is None and not fixed:
        require_credential(Scope.ADMIN.credential)
    key = find_credential(Scope.ADMIN.credential)
    read_key = make_token_reader(Scope.ADMIN) if key else ""
    return Authenticator(read_key, is_browser_allowed, TokenTable(file, fixed))


def make_token_reader(scope: Scope) -> Callable[[], str]:
    """Return a function that reads this service's token of `scope`, also after a rotation.

    A service with only the admin token uses that. SettingMissing when it has neither.
    """
    path = find_credential(scope.credential) or find_credential(Scope.ADMIN.credential)
    require_credential(path.name if path else scope.credential)
    file = WatchedFile(path or Path())

    def read_token() -> str:
        return (file.read() or "").strip()

    return read_token


class RouteScopes:
    """The scope that each route of a service needs, by "METHOD /path/{parameter}".

    A route that is not listed needs `admin`. The method of a WebSocket is WEBSOCKET.
    """

    def __init__(self, scopes: Mapping[str, Scope]) -> None:
        self.declared = {**scopes, "GET /metrics": Scope.METRICS}
        self._patterns = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route))), scope)
            for route, scope in self.declared.items()
            if "{" in route
        ]

    def find(self, method: str, path: str) -> Scope:
        """Return the scope for a request."""
        route = f"{'GET' if method == 'HEAD' else method} {path}"
        scope = self.declared.get(route)
        if scope is None:
            matching = (one for pattern, one in self._patterns if pattern.fullmatch(route))
            scope = next(matching, Scope.ADMIN)
        return scope


class OpenStreams:
    """Event streams, WebSockets and rooms, each of which ends when its client is revoked."""

    def __init__(self) -> None:
        self._held: dict[object, tuple[Callable[[], bool], Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None

    def hold(self, is_allowed: Callable[[], bool], end: Callable[[], None]) -> Callable[[], None]:
        """Call `end` once `is_allowed` returns False; return a function that stops the checks."""
        key = object()
        self._held[key] = (is_allowed, end)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._check_periodically(), name="open-streams")
        return lambda: self._release(key)

    def _release(self, key: object) -> None:
        self._held.pop(key, None)
        if not self._held and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _check_periodically(self) -> None:
        while self._held:
            await asyncio.sleep(STREAM_CHECK_EVERY_S)
            for key, (is_allowed, end) in list(self._held.items()):
                if not is_allowed():
                    self._held.pop(key, None)
                    end()


def make_id() -> str:
    """Return a random id for a browser or a link."""
    return secrets.token_hex(8)


def is_cross_site(headers: Mapping[bytes, str]) -> bool:
    """Return whether the request comes from a page of another origin (CSRF check). Pure.

    Browsers send `Sec-Fetch-Site` over secure connections, and `Origin` with every request that may
    change state. Another port is another origin.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get(b"origin")
    return origin is not None and origin.partition("://")[2] != headers.get(b"host")
