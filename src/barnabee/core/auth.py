"""Who may call: a bearer token, or a cookie that a one-time link set in a browser.

Both links and cookies are signed with the token (HMAC-SHA256). That a link was used, and which
browsers are still let in, must be remembered, and that is the caller's business: a service that
remembers no browsers takes the token alone. Comparisons take constant time. Knows no web framework:
headers come in as text.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from barnabee.core.errors import LinkUsed

COOKIE = "barnabee_session"
COOKIE_AGE_S = 30 * 86_400
LINK_AGE_S = 900


@dataclass(frozen=True)
class Access:
    """The one secret of the house and what is derived from it."""

    token: str
    lets_in: Callable[[str], bool] = lambda _browser: False  # browsers, by their id

    def client(self, authorization: str | None, cookie: str | None, now_s: float) -> str | None:
        """Return who is calling (`token` or `browser:<id>`), or None when nothing proves it."""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), self.token):
            return "token"
        name = self.browser(cookie, now_s)
        return f"browser:{name}" if name and self.lets_in(name) else None

    def browser(self, cookie: str | None, now_s: float) -> str | None:
        """Return the id in a cookie that this house signed and that is not too old, or None."""
        try:
            morsel = SimpleCookie(cookie or "").get(COOKIE)
        except CookieError:
            return None
        return self._opened("cookie", morsel.value, now_s) if morsel else None

    def make_cookie(self, browser: str, now_s: float) -> str:
        """Return the value of a browser's cookie, good for `COOKIE_AGE_S`."""
        return self._sealed("cookie", now_s + COOKIE_AGE_S, browser)

    def make_link_key(self, now_s: float) -> str:
        """Return the key of a link that logs one browser in, good for `LINK_AGE_S`."""
        return self._sealed("link", now_s + LINK_AGE_S, new_id())

    def open_link_key(self, key: str, now_s: float) -> str:
        """Return the link's nonce, which the caller must allow once; LinkUsed when it is bad."""
        nonce = self._opened("link", key, now_s)
        if nonce is None:
            raise LinkUsed
        return nonce

    def _sealed(self, purpose: str, until_s: float, name: str) -> str:
        body = f"{int(until_s)}.{name}"
        return f"{body}.{self._sign(purpose, body)}"

    def _opened(self, purpose: str, value: str, now_s: float) -> str | None:
        body, _, signature = value.rpartition(".")
        if not _same(signature, self._sign(purpose, body)):
            return None
        until, _, nonce = body.partition(".")
        return nonce if now_s <= int(until) else None

    def _sign(self, purpose: str, body: str) -> str:
        message = f"{purpose}:{body}".encode("utf-8", "surrogatepass")
        return hmac.new(self.token.encode(), message, hashlib.sha256).hexdigest()


def new_id() -> str:
    """Return the id of a browser or a link that nobody can guess."""
    return secrets.token_hex(8)


def cross_site(headers: Mapping[bytes, str]) -> bool:
    """Return whether a browser says that a page of another origin made it send this request. Pure.

    `Sec-Fetch-Site` is sent by every browser of today where the connection is secure, `Origin` by
    all with whatever may change something. A port of its own is an origin of its own.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get(b"origin")
    return origin is not None and origin.partition("://")[2] != headers.get(b"host")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
