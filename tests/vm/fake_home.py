"""Home Assistant of a VM test: takes alerts as the package does, and says what it shows.

A webhook, and as much of the WebSocket API as `barnabee alert test` asks. Its tests are those of
tests/unit/testing/test_vm_home.py.
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


def app(webhook_id: str, token: str) -> Starlette:
    """Return the application; what it was sent is counted at GET /received."""
    shown: dict[str, str] = {}
    received: dict[str, int] = {}

    async def webhook(request: Request) -> Response:
        if request.path_params["id"] != webhook_id:
            return Response()  # as the real one: whoever guesses learns nothing
        for alert in (await request.json())["alerts"]:
            mark = f"barnabee_{alert['fingerprint']}"
            if alert["status"] == "firing":
                shown[mark] = alert["annotations"]["summary"]
                name = alert["labels"]["alertname"]
                received[name] = received.get(name, 0) + 1
            else:
                shown.pop(mark, None)
        return Response()

    async def titles(_request: Request) -> Response:
        return JSONResponse({"shown": list(shown.values()), "received": received})

    async def talk(link: WebSocket) -> None:
        await link.accept()
        await link.send_json({"type": "auth_required", "ha_version": "0"})
        given = await link.receive_json()
        if given.get("access_token") != token:
            await link.send_json({"type": "auth_invalid", "message": "no"})
            return
        await link.send_json({"type": "auth_ok", "ha_version": "0"})
        try:
            while True:
                asked = await link.receive_json()
                found = [{"notification_id": key, "title": text} for key, text in shown.items()]
                answer = {"id": asked["id"], "type": "result", "success": True, "result": found}
                await link.send_json(answer)
        except WebSocketDisconnect:
            return

    return Starlette(
        routes=[
            Route("/api/webhook/{id}", webhook, methods=["POST"]),
            Route("/received", titles),
            WebSocketRoute("/api/websocket", talk),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(app(sys.argv[1], sys.argv[2]), host="0.0.0.0", port=PORT, log_level="warning")
