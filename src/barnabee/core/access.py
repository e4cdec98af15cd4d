"""Who may call: a bearer token, or a cookie that a one-time link set in a browser.

Both links and cookies are signed with the token (HMAC-SHA256), so nothing is stored to check them;
only that a link was used must be remembered, and that is the caller's business. Comparisons take
constant time. Knows no web framework: headers come in as text.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
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

    def client(self, authorization: str | None, cookie: str | None, now_s: float) -> str | None:
        """Return who is calling (`token` or `browser:<id>`), or None when nothing proves it."""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), self.token):
            return "token"
        try:
            morsel = SimpleCookie(cookie or "").get(COOKIE)
        except CookieError:
            return None
        name = self._opened("cookie", morsel.value, now_s) if morsel else None
        return f"browser:{name}" if name else None

    def make_cookie(self, now_s: float) -> str:
        """Return the value of a browser's cookie, good for `COOKIE_AGE_S`."""
        return self._sealed("cookie", now_s + COOKIE_AGE_S)

    def make_link_key(self, now_s: float) -> str:
        """Return the key of a link that logs one browser in, good for `LINK_AGE_S`."""
        return self._sealed("link", now_s + LINK_AGE_S)

    def open_link_key(self, key: str, now_s: float) -> str:
        """Return the link's nonce, which the caller must allow once; LinkUsed when it is bad."""
        nonce = self._opened("link", key, now_s)
        if nonce is None:
            raise LinkUsed
        return nonce

    def _sealed(self, purpose: str, until_s: float) -> str:
        body = f"{int(until_s)}.{secrets.token_hex(8)}"
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


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
