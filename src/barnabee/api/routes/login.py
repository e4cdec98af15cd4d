"""Letting browsers in and showing them out: the token or a one-time link, a cookie, a list."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response

from barnabee.api.schemas import WebSessionResponse, LoginLinkResponse
from barnabee.api.service import get_service
from barnabee.core.auth import COOKIE_NAME, COOKIE_LIFETIME_S, LINK_LIFETIME_S
from barnabee.core.errors import LinkInvalid, NotFound, Unauthorized

router = APIRouter()
SessionPathId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]


class LoginRequest(BaseModel):
    """What opens the house."""

    token: str = Field(min_length=1, max_length=512)


@router.get("/login", status_code=303, response_class=RedirectResponse)
async def login_by_link(request: Request, key: Annotated[str, Query(max_length=256)]) -> Response:
    """Set the cookie of a browser that came with a link not used before, and send it home."""
    service = get_service(request)
    try:
        nonce = service.access.read_link_key(key, time.time())
        await service.logins.use(nonce)
    except LinkInvalid as error:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        return _private(RedirectResponse(f"/?refused={error.code}", status_code=303))
    return _let_in(request, RedirectResponse("/", status_code=303))


@router.post("/api/login", status_code=204, response_class=Response)
async def login_by_token(request: Request, given: LoginRequest) -> Response:
    """Set the cookie of a browser whose person knows the token; a few tries a minute."""
    service = get_service(request)
    peer = request.client
    service.login_limiter.take(peer.host if peer else "local")
    if service.access.identify_client(f"Bearer {given.token}", None, time.time()) is None:
        raise Unauthorized
    return _let_in(request, Response(status_code=204))


@router.post("/api/logout", status_code=204, response_class=Response)
async def log_out(request: Request) -> Response:
    """Show this browser out; its cookie is worth nothing from now on."""
    this = _this(request)
    if this:
        get_service(request).browsers.remove(this)
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE_NAME, path="/")
    return _private(answer)


@router.get("/api/session", response_model=WebSessionResponse)
async def get_own_session(request: Request, response: Response) -> WebSessionResponse:
    """Return who is asking, and make a browser's cookie good for its whole time again."""
    this = _this(request)
    for shown in _browsers(request):
        if shown.id == this:
            _set_cookie(request, response, this)
            return shown
    now_s = int(time.time())
    return WebSessionResponse(id="", name="token", since_s=now_s, seen_s=now_s, this=True)


@router.get("/api/browsers", response_model=list[WebSessionResponse])
async def list_sessions(request: Request) -> list[WebSessionResponse]:
    """Return every browser that is logged in, the one seen last first."""
    return _browsers(request)


@router.delete("/api/browsers/{browser}", status_code=204, response_class=Response)
async def revoke_session(request: Request, browser: SessionPathId) -> Response:
    """Show a browser out."""
    if not get_service(request).browsers.remove(browser):
        raise NotFound(what=f"browser {browser}")
    return Response(status_code=204)


@router.post("/api/links", response_model=LoginLinkResponse, status_code=201)
async def create_login_link(request: Request) -> LoginLinkResponse:
    """Make a link that lets one more browser in, once."""
    key = get_service(request).access.make_link_key(time.time())
    return LoginLinkResponse(path=f"/login?key={key}", good_for_s=LINK_LIFETIME_S)


def _let_in(request: Request, answer: Response) -> Response:
    browser = get_service(request).browsers.add(request.headers.get("user-agent", ""))
    _set_cookie(request, answer, browser)
    return _private(answer)


def _set_cookie(request: Request, answer: Response, browser: str) -> None:
    answer.set_cookie(
        COOKIE_NAME,
        get_service(request).access.make_cookie(browser, time.time()),
        max_age=COOKIE_LIFETIME_S,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _private(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _this(request: Request) -> str:
    """Return the id of the browser that asks; empty when it came with the token."""
    return get_service(request).access.read_cookie(request.headers.get("cookie"), time.time()) or ""


def _browsers(request: Request) -> list[WebSessionResponse]:
    this = _this(request)
    return [
        WebSessionResponse(
            id=one.id, name=one.name, since_s=one.since_s, seen_s=one.seen_s, this=one.id == this
        )
        for one in get_service(request).browsers.all()
    ]
