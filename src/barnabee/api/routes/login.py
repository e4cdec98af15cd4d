"""Routes of web sessions: login by token or one-time link, logout, listing and revoking."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response

from barnabee.api.schemas import LoginLinkResponse, WebSessionResponse
from barnabee.api.service import get_service
from barnabee.core.auth import COOKIE_LIFETIME_S, COOKIE_NAME, LINK_LIFETIME_S
from barnabee.core.errors import Forbidden, LinkInvalid, NotFound, Unauthorized
from barnabee.core.tokens import Scope
from barnabee.core.trusted_proxies import PREFIX_KEY

router = APIRouter()
SessionPathId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]


class LoginRequest(BaseModel):
    """Login by the API token."""

    token: str = Field(min_length=1, max_length=512)


@router.get("/login", status_code=303, response_class=RedirectResponse)
async def login_by_link(request: Request, key: Annotated[str, Query(max_length=256)]) -> Response:
    """Start a session for a browser with an unused link, and redirect it to the dashboard."""
    service = get_service(request)
    try:
        nonce = service.authenticator.read_link_key(key, time.time())
        await service.login_links.use(nonce)
    except LinkInvalid as error:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        return _make_private(RedirectResponse(f"./?refused={error.code}", status_code=303))
    return _start_session(request, RedirectResponse("./", status_code=303))


@router.post("/api/login", status_code=204, response_class=Response)
async def login_by_token(request: Request, body: LoginRequest) -> Response:
    """Start a session for a browser with the API token; limited by `limits.logins_per_minute`."""
    service = get_service(request)
    authorization = f"Bearer {body.token}"
    client = service.authenticator.identify_client(authorization, None, time.time())
    if client is None:
        service.login_rate_limiter.take(request.client.host if request.client else "local")
        raise Unauthorized
    if not client.scope.allows(Scope.ADMIN):
        raise Forbidden(required=Scope.ADMIN, given=client.scope)
    return _start_session(request, Response(status_code=204))


@router.post("/api/logout", status_code=204, response_class=Response)
async def log_out(request: Request) -> Response:
    """Revoke the session of this browser."""
    session_id = _read_session_id(request)
    if session_id:
        get_service(request).web_sessions.revoke(session_id)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE_NAME, path=_cookie_path(request))
    return _make_private(response)


@router.get("/api/session", response_model=WebSessionResponse)
async def get_own_session(request: Request, response: Response) -> WebSessionResponse:
    """Return the session of this browser and renew its cookie."""
    session_id = _read_session_id(request)
    for session in _list_sessions(request):
        if session.id == session_id:
            _set_cookie(request, response, session_id)
            return session
    now_s = int(time.time())
    return WebSessionResponse(id="", name="token", since_s=now_s, seen_s=now_s, this=True)


@router.get("/api/browsers", response_model=list[WebSessionResponse])
async def list_sessions(request: Request) -> list[WebSessionResponse]:
    """Return all sessions, the most recently used first."""
    return _list_sessions(request)


@router.delete("/api/browsers/{browser}", status_code=204, response_class=Response)
async def revoke_session(request: Request, browser: SessionPathId) -> Response:
    """Revoke the session of a browser."""
    if not get_service(request).web_sessions.revoke(browser):
        raise NotFound(what=f"browser {browser}")
    return Response(status_code=204)


@router.post("/api/links", response_model=LoginLinkResponse, status_code=201)
async def create_login_link(request: Request) -> LoginLinkResponse:
    """Create a one-time login link."""
    key = get_service(request).authenticator.make_link_key(time.time())
    return LoginLinkResponse(path=f"/login?key={key}", good_for_s=LINK_LIFETIME_S)


def _start_session(request: Request, response: Response) -> Response:
    user_agent = request.headers.get("user-agent", "")
    session_id = get_service(request).web_sessions.create(user_agent)
    _set_cookie(request, response, session_id)
    return _make_private(response)


def _set_cookie(request: Request, response: Response, session_id: str) -> None:
    response.set_cookie(
        COOKIE_NAME,
        get_service(request).authenticator.make_cookie(session_id, time.time()),
        max_age=COOKIE_LIFETIME_S,
        path=_cookie_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _cookie_path(request: Request) -> str:
    """Return the path of the dashboard, which shares its origin with others behind a prefix."""
    return f"{request.scope.get(PREFIX_KEY, '')}/"


def _make_private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _read_session_id(request: Request) -> str:
    """Return the session id in the cookie, empty for a client with the token."""
    authenticator = get_service(request).authenticator
    return authenticator.read_cookie(request.headers.get("cookie"), time.time()) or ""


def _list_sessions(request: Request) -> list[WebSessionResponse]:
    own_id = _read_session_id(request)
    return [
        WebSessionResponse(
            id=session.id,
            name=session.name,
            since_s=session.since_s,
            seen_s=session.seen_s,
            this=session.id == own_id,
        )
        for session in get_service(request).web_sessions.list_all()
    ]
