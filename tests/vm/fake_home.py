"""Fake Home Assistant of the flake's checks: the alert webhook and the part of the WebSocket API
that `barnabee alert test` uses. Tests: tests/unit/support/test_vm_home.py.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

PORT = 8123


def create_app(webhook_id: str, token: str) -> Starlette:
    """Return the application; GET /received has its notifications and the alerts by name."""
    shown: dict[str, str] = {}
    received: dict[str, int] = {}

    async def webhook(request: Request) -> Response:
        if request.path_params["id"] != webhook_id:
            return Response()  # as Home Assistant does for an unknown webhook
        for alert in (await request.json())["alerts"]:
            notification_id = f"barnabee_{alert['fingerprint']}"
            if alert["status"] == "firing":
                shown[notification_id] = alert["annotations"]["summary"]
                name = alert["labels"]["alertname"]
                received[name] = received.get(name, 0) + 1
            else:
                shown.pop(notification_id, None)
        return Response()

    async def received_alerts(_request: Request) -> Response:
        return JSONResponse({"shown": list(shown.values()), "received": received})

    async def websocket(link: WebSocket) -> None:
        await link.accept()
        await link.send_json({"type": "auth_required", "ha_version": "0"})
        auth = await link.receive_json()
        if auth.get("access_token") != token:
            await link.send_json({"type": "auth_invalid", "message": "no"})
            return
        await link.send_json({"type": "auth_ok", "ha_version": "0"})
        try:
            while True:
                request = await link.receive_json()
                found = [{"notification_id": key, "title": text} for key, text in shown.items()]
                answer = {"id": request["id"], "type": "result", "success": True, "result": found}
                await link.send_json(answer)
        except WebSocketDisconnect:
            return

    return Starlette(
        routes=[
            Route("/api/webhook/{id}", webhook, methods=["POST"]),
            Route("/received", received_alerts),
            WebSocketRoute("/api/websocket", websocket),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(
        create_app(sys.argv[1], sys.argv[2]), host="0.0.0.0", port=PORT, log_level="warning"
    )
