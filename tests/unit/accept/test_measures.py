"""The replica row by an api elsewhere, and what each answer of it comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from barnabee.accept.criteria import Limit, Row, Verdict
from barnabee.accept.measures import alert_row, replica_row
from barnabee.accept.target import _remote
from barnabee.alerts.delivery_test import Hop, Trial
from barnabee.core import system
from barnabee.core.errors import SettingMissing
from barnabee.core.settings import Settings

LAG = Limit("replica lag", 0, "txids")
ALERT = Limit("test alert", 60, "s")


class Api:
    """An api that writes turns, and says of its replica what the test says."""

    def __init__(self, behind: int = 0, *, writes: bool = True, **replica: Any) -> None:
        self.txid = 7
        self.behind = behind
        self.writes = writes
        self.replica = replica
        self.status = 200

    def respond(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/backups":
            told = {"txid": self.txid, "lag_transactions": self.behind, "error": None}
            return httpx.Response(self.status, json={"replica": told | self.replica})
        if request.url.path == "/v1/command":
            self.txid += self.writes
        return httpx.Response(200, json={})

    async def row(self, monkeypatch: pytest.MonkeyPatch) -> Row:
        file = Path(__file__).resolve().parents[3] / "system.toml"
        monkeypatch.setenv("BARNABEE_SYSTEM", str(file))
        system.current.cache_clear()
        transport = httpx.MockTransport(self.respond)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            return await replica_row(_remote(http, Settings(), None), LAG, 1.0)


async def test_a_replica_that_has_the_row_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    row = await Api().row(monkeypatch)
    assert (row.verdict, row.figure) == (Verdict.PASSED, 0)
    assert "8 here, 8 there" in row.source


async def test_a_replica_that_lacks_it_fails_with_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    row = await Api(behind=2).row(monkeypatch)
    assert (row.verdict, row.figure, row.why) == (Verdict.FAILED, 2, "2 txids is more than 0")


async def test_a_write_that_moved_nothing_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    row = await Api(writes=False).row(monkeypatch)
    assert row.verdict is Verdict.FAILED
    assert "did not move" in row.why


async def test_a_replica_in_trouble_fails_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    row = await Api(error="litestream hangs").row(monkeypatch)
    assert (row.verdict, "litestream hangs" in row.why) == (Verdict.FAILED, True)


async def test_an_api_that_does_not_tell_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    api.status = 404
    assert (await api.row(monkeypatch)).verdict is Verdict.UNCHECKED


async def test_an_alert_counts_until_home_assistant_shows_it() -> None:
    hops = (Hop("Prometheus", 10, ""), Hop("Alertmanager", 40, ""), Hop("Home Assistant", 950, ""))
    whole = Trial("t", (*hops, Hop("ended", 1, ""), Hop("dismissed", 9000, "")), ok=True)

    async def fire(limit_s: float) -> Trial:
        assert limit_s == 60
        return whole

    row = await alert_row(ALERT, fire)
    assert (row.verdict, row.figure) == (Verdict.PASSED, 1.0)


async def test_an_alert_that_is_lost_says_where() -> None:
    async def fire(_limit_s: float) -> Trial:
        return Trial("t", (Hop("Prometheus", 10, ""),), ok=False, why="after 60 s: nothing")

    row = await alert_row(ALERT, fire)
    assert (row.verdict, "Prometheus" in row.why) == (Verdict.FAILED, True)


async def test_without_home_assistant_an_alert_is_not_checked() -> None:
    async def fire(_limit_s: float) -> Trial:
        raise SettingMissing(name="HOME_ASSISTANT_URL", hint="say where it is")

    row = await alert_row(ALERT, fire)
    assert row.verdict is Verdict.UNCHECKED
    assert "HOME_ASSISTANT_URL" in row.why
