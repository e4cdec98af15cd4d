"""The one-time link that lets a browser in."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from barnabee.api.service import service_of
from barnabee.core.access import COOKIE, COOKIE_AGE_S

router = APIRouter()


@router.get("/login", status_code=303, response_class=RedirectResponse)
async def login(request: Request, key: Annotated[str, Query(max_length=256)]) -> Response:
    """Set the cookie of a browser that came with a link not used before, and send it home."""
    service = service_of(request)
    nonce = service.access.open_link_key(key, time.time())
    await service.logins.use(nonce)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        COOKIE,
        service.access.make_cookie(time.time()),
        max_age=COOKIE_AGE_S,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer
