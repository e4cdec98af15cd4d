"""The fake Home Assistant of `tests/vm`: notifications and login."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from barnabee.clients.home_assistant import HomeAssistant
from support.asgi_server import serve_app
from support.wait import eventually

FILE = Path(__file__).resolve().parents[2] / "vm/fake_home.py"


@pytest.fixture(scope="module")
def fake() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_home", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def alert(status: str) -> dict[str, Any]:
    one = {
        "status": status,
        "fingerprint": "f",
        "labels": {"alertname": "A"},
        "annotations": {"summary": "s"},
    }
    return {"alerts": [one]}


async def test_an_alert_is_shown_until_it_is_resolved(fake: ModuleType) -> None:
    async with (
        serve_app(fake.create_app("hook", "token")) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        client = HomeAssistant(url, lambda: "token")
        client.start()

        async def connected() -> bool:
            try:
                await client.ready()
            except Exception:  # noqa: BLE001 - not yet
                return False
            return True

        await eventually(connected)
        await http.post("/api/webhook/wrong", json=alert("firing"))
        assert await client.read_notifications() == {}
        await http.post("/api/webhook/hook", json=alert("firing"))
        assert await client.read_notifications() == {"barnabee_f": "s"}
        assert (await http.get("/received")).json() == {"shown": ["s"], "received": {"A": 1}}
        await http.post("/api/webhook/hook", json=alert("resolved"))
        assert await client.read_notifications() == {}
        await client.aclose()


async def test_a_wrong_token_is_refused(fake: ModuleType) -> None:
    async with serve_app(fake.create_app("hook", "token")) as url:
        client = HomeAssistant(url, lambda: "another")
        client.start()

        async def refused() -> bool:
            try:
                await client.ready()
            except Exception as error:  # noqa: BLE001 - its text is checked
                return "refused" in str(error)
            return False

        await eventually(refused)
        await client.aclose()
