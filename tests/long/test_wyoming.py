"""Home Assistant's Wyoming integration: a real Home Assistant, our server and the real models.

It is set up over Home Assistant's API, as its pages do, and an Assist pipeline runs a recorded
command through speech to text and conversation; text to speech is asked for on its own.
"""

from __future__ import annotations

import io
import json
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from barnabee.audio import wav
from support.deployment import Deployment
from support.voice import load_recording
from support.wait import eventually

CHUNK_SAMPLES = 1600  # 100 ms
ENTITIES = ("stt", "tts", "wake_word", "conversation")


@dataclass
class AssistClient:
    """A client of Home Assistant's WebSocket API, as its pages and satellites are."""

    url: str
    token: str
    socket: ClientConnection
    messages: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    async def call(self, command: str, **fields: object) -> Any:
        await self.send(command, **fields)
        while (answer := await self.receive())["type"] != "result":
            pass
        assert answer["success"], answer
        return answer["result"]

    async def send(self, command: str, **fields: object) -> None:
        self.messages += 1
        await self.socket.send(json.dumps({"id": self.messages, "type": command, **fields}))

    async def receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self.socket.recv())
        return answer

    async def post(self, path: str, **body: object) -> dict[str, Any]:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            response = await http.post(
                f"{self.url}{path}", json=body, headers={"Authorization": f"Bearer {self.token}"}
            )
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def run_pipeline(self, pipeline: str, recording: str) -> dict[str, dict[str, Any]]:
        """Send a recording as a satellite does; return the events of the run by type."""
        # Without Home Assistant's own voice activity detection: the release of its package that is
        # installed here has other names.
        given = {"sample_rate": 16_000, "no_vad": True}
        await self.send(
            "assist_pipeline/run",
            start_stage="stt",
            end_stage="intent",  # speech in its pipelines is MP3, for which it needs ffmpeg
            pipeline=pipeline,
            input=given,
        )
        events: dict[str, dict[str, Any]] = {}
        while not {"run-end", "error"} & events.keys():
            message = await self.receive()
            if message["type"] != "event":
                continue
            events[message["event"]["type"]] = message["event"]["data"] or {}
            if message["event"]["type"] == "stt-start":
                handler = events["run-start"]["runner_data"]["stt_binary_handler_id"]
                await self._send_audio(bytes([handler]), recording)
        return events

    async def _send_audio(self, prefix: bytes, recording: str) -> None:
        samples = load_recording(recording)
        for start in range(0, len(samples), CHUNK_SAMPLES):
            await self.socket.send(prefix + samples[start : start + CHUNK_SAMPLES].tobytes())
        await self.socket.send(prefix)  # the end


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("deployment")).running() as running:
        yield running


@asynccontextmanager
async def open_assist(deployment: Deployment) -> AsyncIterator[AssistClient]:
    """Connect to the demo home; the Wyoming integration is set up once."""
    url = deployment.url("home")
    token = (deployment.paths.secrets / "demo_home_token").read_text().strip()
    address = f"{url.replace('http', 'ws', 1)}/api/websocket"
    async with connect(address, proxy=None, max_size=None) as socket:
        client = AssistClient(url, token, socket)
        await client.receive()
        await socket.send(json.dumps({"type": "auth", "access_token": token}))
        assert (await client.receive())["type"] == "auth_ok"
        await set_up(client, deployment.ports["wyoming_server"])
        yield client


async def set_up(client: AssistClient, port: int) -> None:
    entries = await client.call("config_entries/get", domain="wyoming")
    if entries:
        return
    flows = "/api/config/config_entries/flow"
    flow = await client.post(flows, handler="wyoming")
    created = await client.post(f"{flows}/{flow['flow_id']}", host="127.0.0.1", port=port)
    assert created["type"] == "create_entry", created

    async def has_entities() -> bool:
        states = {one["entity_id"] for one in await client.call("get_states")}
        return {
            f"{kind}.barnabee" for kind in ("stt", "tts", "wake_word", "conversation")
        } <= states

    await eventually(has_entities)
    await client.call("config/core/update", internal_url=client.url)  # for URLs of speech


async def make_pipeline(client: AssistClient) -> str:
    made = await client.call(
        "assist_pipeline/pipeline/create",
        name="Barnabee",
        language="en",
        conversation_engine="conversation.barnabee",
        conversation_language="en",
        stt_engine="stt.barnabee",
        stt_language="en",
        tts_engine="tts.barnabee",
        tts_language="en",
        tts_voice=None,
        wake_word_entity=None,
        wake_word_id=None,
    )
    return str(made["id"])


async def read_light(client: AssistClient) -> str:
    states = {one["entity_id"]: one["state"] for one in await client.call("get_states")}
    return str(states["light.kitchen_light"])


async def test_a_spoken_command_switches_the_light(deployment: Deployment) -> None:
    async with open_assist(deployment) as client:
        pipeline = await make_pipeline(client)
        await deployment.send_command("turn off the kitchen light")
        assert await read_light(client) == "off"

        events = await client.run_pipeline(pipeline, "kitchen_light_af_heart")

        assert "error" not in events, events
        assert "kitchen light" in events["stt-end"]["stt_output"]["text"].lower()
        response = events["intent-end"]["intent_output"]["response"]
        assert response["speech"]["plain"]["speech"] == "The kitchen light is on."
        assert await read_light(client) == "on"


async def test_home_assistant_speaks_with_our_voice(deployment: Deployment) -> None:
    async with open_assist(deployment) as client:
        made = await client.post(
            "/api/tts_get_url",
            engine_id="tts.barnabee",
            message="The kitchen light is on. Dinner is ready.",
            language="en",
            options={"preferred_format": "wav"},
        )
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            spoken = (await http.get(f"{client.url}{made['path']}")).content
    with wave.open(io.BytesIO(wav.set_length(spoken))) as file:
        assert (file.getframerate(), file.getnchannels()) == (24_000, 1)
        assert 2 < file.getnframes() / 24_000 < 5


async def test_the_restarted_server_is_used_again_by_itself(deployment: Deployment) -> None:
    async with open_assist(deployment) as client:
        pipeline = await make_pipeline(client)
        await deployment.kill_and_recover("wyoming")

        events = await client.run_pipeline(pipeline, "what_time_af_heart")

        assert "error" not in events, events
        speech = events["intent-end"]["intent_output"]["response"]["speech"]["plain"]["speech"]
        assert speech.startswith("It's ")
