from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from barnabee.api.routes import backups
from barnabee.backup import drill as drill_module
from barnabee.backup import status
from barnabee.backup.drill import DrillResult
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.store import db

SYSTEM = system_module.load_system()


async def test_status_is_returned_and_a_drill_can_be_requested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARNABEE_DATA", str(tmp_path))
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "barnabee.db"))
    monkeypatch.delenv("BARNABEE_LITESTREAM_SOCKET", raising=False)
    settings = settings_module.read_settings(SYSTEM)
    db.prepare_database(settings.database_path)
    for day in range(1, 4):
        drill = DrillResult(
            f"2026-01-0{day}T03:40:00.000Z", 9, 3, success=day != 3, step="replica: fetch"
        )
        drill_module.record_drill(settings.database_path, drill)
    app = FastAPI()
    app.include_router(backups.router)
    app.state.service = SimpleNamespace(system=SYSTEM, settings=settings)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        body = (await client.get("/v1/backups")).json()
        assert body["replica"]["error"] == "litestream is not configured here"
        assert body["drill"]["last"]["success"] is False
        assert body["drill"]["last_verified_at"] == "2026-01-02T03:40:00.000Z"
        assert [one["started_at"][9] for one in body["drill"]["history"]] == ["1", "2", "3"]
        assert not body["drill"]["requested"]
        assert "there is no snapshot yet" in body["warnings"]

        response = await client.post("/v1/backups/rehearse")
        assert (response.status_code, response.json()) == (202, {"requested": True})
        assert (await client.get("/v1/backups")).json()["drill"]["requested"]
    status.clear_drill_request(settings)
    assert not status.is_drill_requested(settings)
