"""Client address, scheme and path prefix of requests that a trusted reverse proxy forwards.

Only `X-Forwarded-For`, `-Proto` and `-Prefix` of a peer in `BARNABEE_TRUSTED_PROXIES` are used. The
client is the rightmost address that is not a trusted proxy itself, so entries that a client made up
have no effect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from starlette.responses import RedirectResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX_HEADER = b"x-forwarded-prefix"
PREFIX_KEY = "barnabee.prefix"  # in the ASGI scope: the path prefix, such as "/barnabee", or absent
PREFIX_MAX_CHARS = 128
# Of unreserved characters, without `.` and `..`: the prefix becomes the path of a cookie.
_PREFIX = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)+")


def trust_proxies(app: ASGIApp, proxies: tuple[str, ...]) -> ASGIApp:
    """Return `app` behind `proxies`; without any, forwarded headers have no effect."""
    return cast("ASGIApp", _ForwardedHeaders(app, list(proxies))) if proxies else app  # type: ignore[arg-type]


class _ForwardedHeaders(ProxyHeadersMiddleware):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        if scope["type"] != "lifespan" and _get_peer(scope) in self.trusted_hosts:
            prefix = _read_prefix(scope)
            if prefix and scope["path"] == prefix:  # relative URLs of the page need the slash
                await RedirectResponse(f"{prefix}/", 308)(scope, receive, send)
                return
            if prefix:
                _remove_prefix(scope, prefix)
        await super().__call__(scope, receive, send)  # type: ignore[arg-type]


def _get_peer(scope: Scope) -> str | None:
    peer = scope.get("client")
    return peer[0] if peer else None


def _read_prefix(scope: Scope) -> str:
    """Return the path prefix without its last slash; empty if there is none or it is no path."""
    prefix = dict(scope["headers"]).get(PREFIX_HEADER, b"").decode("latin-1").rstrip("/")
    return prefix if len(prefix) <= PREFIX_MAX_CHARS and _PREFIX.fullmatch(prefix) else ""


def _remove_prefix(scope: Scope, prefix: str) -> None:
    """Record the prefix, and remove it from the path unless the proxy has done so."""
    scope[PREFIX_KEY] = prefix
    path: str = scope["path"]
    scope["path"] = path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
