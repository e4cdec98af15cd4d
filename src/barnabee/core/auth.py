"""Authentication: bearer token, session cookies and one-time login links.

Cookies and links are signed with the token (HMAC-SHA256, compared in constant time). The caller
stores which links were used and which browsers have a session; without such a store only the token
is accepted. Knows no web framework.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from barnabee.core.errors import LinkInvalid

COOKIE_NAME = "barnabee_session"
COOKIE_LIFETIME_S = 30 * 86_400
LINK_LIFETIME_S = 900


@dataclass(frozen=True)
class Authenticator:
    """Checks and issues credentials that are derived from the API token."""

    token: str
    is_browser_allowed: Callable[[str], bool] = lambda _browser_id: False

    def identify_client(
        self, authorization: str | None, cookie: str | None, now_s: float
    ) -> str | None:
        """Return `token` or `browser:<id>`, or None for an unauthenticated request."""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and _is_equal(given.strip(), self.token):
            return "token"
        browser_id = self.read_cookie(cookie, now_s)
        allowed = browser_id and self.is_browser_allowed(browser_id)
        return f"browser:{browser_id}" if allowed else None

    def read_cookie(self, cookie: str | None, now_s: float) -> str | None:
        """Return the browser id of a `Cookie` header, or None if unsigned or expired."""
        try:
            morsel = SimpleCookie(cookie or "").get(COOKIE_NAME)
        except CookieError:
            return None
        return self._verify("cookie", morsel.value, now_s) if morsel else None

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
        body, _, signature = value.rpartition(".")
        if not _is_equal(signature, self._sign(purpose, body)):
            return None
        until, _, name = body.partition(".")
        return name if now_s <= int(until) else None

    def _sign(self, purpose: str, body: str) -> str:
        message = f"{purpose}:{body}".encode("utf-8", "surrogatepass")
        return hmac.new(self.token.encode(), message, hashlib.sha256).hexdigest()


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


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
