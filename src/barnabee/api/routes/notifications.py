"""Route of notifications: what rings while no room is connected, for our own services only."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from barnabee.api.service import get_service
from barnabee.core.errors import Forbidden, HomeRefused, NotFound
from barnabee.core.http import CLIENT_KEY
from barnabee.core.tokens import Scope

TITLE = "Barnabee"

router = APIRouter()


class NotificationRequest(BaseModel):
    """A notification; one with the same id replaces it."""

    notification_id: str = Field(pattern="^[A-Za-z0-9_-]{1,128}$")
    message: str = Field(min_length=1, max_length=500)


@router.post("/v1/notifications", status_code=204, response_model=None)
async def notify(request: Request, notification: NotificationRequest) -> Response:
    """Show a notification in Home Assistant, and on the phones that it notifies."""
    client = request.scope[CLIENT_KEY]
    if not client.is_service:
        raise Forbidden(required=Scope.ADMIN, given=client.scope)
    home = get_service(request).home
    if home is None:
        raise NotFound(what="Home Assistant: set HOME_ASSISTANT_URL")
    text = {"title": TITLE, "message": notification.message}
    await home.call_service(
        "persistent_notification.create",
        data={**text, "notification_id": notification.notification_id},
    )
    with suppress(HomeRefused):  # there is no such service without a phone
        await home.call_service("notify.notify", data=text)
    return Response(status_code=204)
