"""A satellite: asks the recorded question of the deep probe over WebSocket, as a person would.

Prints what was heard, the reply and the seconds of sound as JSON. The arguments are the URL, the
token and the certificate of the proxy.
"""

from __future__ import annotations

import asyncio
import io
import json
import ssl
import sys
import wave
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from barnabee.clients.probe import load_question

FRAME_BYTES = 640  # 20 ms of 16-bit sound at 16 kHz
FRAME_S = 0.02
RATE_HZ = 24_000  # of what is received
ENDED = {"follow_up", "asleep"}
LIMIT_S = 60


async def ask(socket: ClientConnection) -> dict[str, Any]:
    """Hold the button, say the question, and listen until the reply has ended."""
    await socket.send(json.dumps({"type": "talk", "on": True}))
    speaking = asyncio.create_task(say_question(socket))
    messages: dict[str, dict[str, Any]] = {}
    sound = 0
    async for message in socket:
        if isinstance(message, bytes):
            sound += len(message)
            continue
        found = json.loads(message)
        messages[found["type"]] = found
        if "error" in messages or ("reply" in messages and found.get("state") in ENDED):
            break
    speaking.cancel()
    return {"messages": messages, "sound_s": sound / 2 / RATE_HZ}


async def say_question(socket: ClientConnection) -> None:
    """Send the recording in real time, release the button, and go on with silence."""
    with wave.open(io.BytesIO(load_question().wav)) as recording:
        samples = recording.readframes(recording.getnframes())
    for start in range(0, len(samples), FRAME_BYTES):
        await socket.send(samples[start : start + FRAME_BYTES])
        await asyncio.sleep(FRAME_S)
    await socket.send(json.dumps({"type": "talk", "on": False}))
    while True:
        await socket.send(bytes(FRAME_BYTES))
        await asyncio.sleep(FRAME_S)


async def main(url: str, token: str, certificate: str) -> None:
    trusted = ssl.create_default_context(cafile=certificate)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        asyncio.timeout(LIMIT_S),
        connect(url, ssl=trusted, additional_headers=headers, proxy=None) as socket,
    ):
        print(json.dumps(await ask(socket)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
