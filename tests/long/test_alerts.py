"""Alert delivery with real Prometheus, Alertmanager and Home Assistant, and a mail server."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from barnabee.accept import alert_delivery
from barnabee.clients.home_assistant import HomeAssistant
from barnabee.up import monitoring_services
from support.alerting import MonitoringStack
from support.asgi_server import serve_app
from support.demo_home import BOTH_RELEASES, DemoHomeProcess, provide_venv
from support.wait import eventually

MISSING = [name for name in monitoring_services.PROGRAMS.values() if shutil.which(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
PACKAGE = monitoring_services.monitoring_directory() / "home-assistant" / "barnabee_alerts.yaml"
PHONE = "mums_phone"  # writes its notifications to a file


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BOTH_RELEASES)
async def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DemoHomeProcess]:
    venv = await provide_venv(other=request.param)
    directory = tmp_path_factory.mktemp("home")
    found = DemoHomeProcess(directory, packages=(PACKAGE,), venv=venv)
    await found.start()
    await found.call(
        "call_service",
        domain="input_text",
        service="set_value",
        service_data={
            "entity_id": "input_text.barnabee_alert_phones",
            "value": f"notify.{PHONE}, notify.phone_that_was_removed",
        },
    )
    yield found
    if found.process is not None:
        found.stop()


@pytest.fixture
def stack(tmp_path: Path, home: DemoHomeProcess) -> Iterator[MonitoringStack]:
    found = MonitoringStack(tmp_path / "stack", {"webhook_url": home.webhook_url})
    yield found
    found.stop()


async def read_firing_alerts(home: DemoHomeProcess) -> dict[str, int]:
    state = await home.state("sensor.alerts_of_the_assistant")
    marks: dict[str, int] = state["attributes"]["marks"]
    assert int(state["state"]) == len(marks)
    return marks


@asynccontextmanager
async def connect(home: DemoHomeProcess) -> AsyncIterator[HomeAssistant]:
    client = HomeAssistant(home.home.url, lambda: home.token)
    client.start()
    yield client
    await client.aclose()


async def fire(stack: MonitoringStack, name: str, **labels: str) -> None:
    """Post an alert for ten minutes, with its name in the summary."""
    now = datetime.now(UTC)
    annotations = {"summary": f"{name} is wrong.", "action": f"Fix {name}."}
    client = stack.client
    try:
        await client.post_alert(
            {"alertname": name, **labels},
            annotations,
            started=now,
            ends=now + timedelta(minutes=10),
        )
    finally:
        await client.aclose()


async def read_titles(home: DemoHomeProcess) -> list[str]:
    return [shown["title"] for shown in await home.call("persistent_notification/get")]


def count_on_phone(home: DemoHomeProcess, text: str) -> int:
    path = home.home.directory / "phones" / PHONE
    return path.read_text().count(text) if path.exists() else 0


async def test_test_alert_arrives_and_is_dismissed(
    home: DemoHomeProcess, stack: MonitoringStack
) -> None:
    stack.start_alertmanager()
    stack.start_prometheus()
    await stack.wait_until_ready()
    sender = stack.client
    async with connect(home) as client:
        gone = await alert_delivery.run_delivery_test(
            sender, client.read_notifications, aloud=True, limit_s=60
        )
    await sender.aclose()
    for hop in gone.hops:
        print(f"{hop.name}: {hop.took_ms:.0f} ms, {hop.seen}")

    assert gone.ok, gone.why
    names = [hop.name for hop in gone.hops]
    assert names == ["Prometheus", "Alertmanager", "Home Assistant", "ended", "dismissed"]
    assert "Urgent" in gone.hops[2].seen
    script = await home.state("script.barnabee_say_aloud")
    assert script["attributes"]["last_triggered"] is not None
    assert count_on_phone(home, "No action is needed") == 1
    assert count_on_phone(home, "clear_notification") == 1
    assert await read_firing_alerts(home) == {}


@pytest.mark.timeout(400)
async def test_alert_during_an_outage_arrives_once_after_it(
    home: DemoHomeProcess, stack: MonitoringStack
) -> None:
    home.stop()
    stack.start_alertmanager()
    await stack.wait_until_ready()
    await fire(stack, "FiredDuringOutage", severity="warning")

    async def failed_twice() -> bool:
        return await stack.sample("alertmanager_notification_requests_failed_total") >= 2

    await eventually(failed_twice, within_s=60)
    await home.start()
    # A webhook during its start may be lost; the next repetition is not.
    before = await stack.sample("alertmanager_notifications_total")

    async def repeated() -> bool:
        return await stack.sample("alertmanager_notifications_total") > before

    await eventually(repeated, within_s=150, every_s=0.5)

    async def shown() -> bool:
        return "FiredDuringOutage is wrong." in await read_titles(home)

    await eventually(shown, within_s=30)
    assert (await read_titles(home)).count("FiredDuringOutage is wrong.") == 1
    assert count_on_phone(home, "Fix FiredDuringOutage") == 1


async def test_alert_that_is_not_repeated_is_dismissed(home: DemoHomeProcess) -> None:
    """Alertmanager may be down, or Home Assistant may have missed that the alert was resolved."""
    now = int(datetime.now(UTC).timestamp())
    for mark, age_s in (("barnabee_old", 400), ("barnabee_new", 10)):
        await home.call(
            "call_service",
            domain="persistent_notification",
            service="create",
            service_data={"notification_id": mark, "title": mark, "message": "."},
        )
        data = {"mark": mark, "firing": True, "said": now - age_s}
        await home.call("fire_event", event_type="barnabee_alert", event_data=data)

    async def gone() -> bool:
        return "barnabee_old" not in await read_titles(home)

    await eventually(gone, within_s=90, every_s=0.5)
    assert "barnabee_new" in await read_titles(home)
    assert "barnabee_new" in await read_firing_alerts(home)
    assert "barnabee_old" not in await read_firing_alerts(home)


async def test_host_alert_inhibits_alerts_of_its_services(
    home: DemoHomeProcess, stack: MonitoringStack
) -> None:
    stack.start_alertmanager()
    await stack.wait_until_ready()
    await fire(stack, "MachineDead", severity="critical", kind="machine", host="attic")
    for number in range(20):
        await fire(stack, f"PartDead{number}", severity="critical", kind="service", host="attic")
    await fire(stack, "OnlyAnEffect", severity="critical", kind="effect")
    await fire(stack, "PartOfAnotherDead", severity="critical", kind="service", host="cellar")

    async def shown() -> bool:
        wanted = {"Urgent: MachineDead is wrong.", "Urgent: PartOfAnotherDead is wrong."}
        return wanted <= set(await read_titles(home))

    await eventually(shown)
    found = " ".join(await read_titles(home))
    assert "PartDead" not in found.replace("PartOfAnotherDead", "")
    assert "OnlyAnEffect" not in found


async def test_quiet_hours_delay_alerts_that_are_not_critical(
    home: DemoHomeProcess, tmp_path: Path
) -> None:
    hour = datetime.now().astimezone().hour
    night = {"quiet_from_h": (hour - 1) % 24, "quiet_until_h": (hour + 2) % 24}
    stack = MonitoringStack(tmp_path / "night", {"webhook_url": home.webhook_url}, night)
    try:
        stack.start_alertmanager()
        await stack.wait_until_ready()
        await fire(stack, "CanWait", severity="warning")
        await fire(stack, "CannotWait", severity="critical")

        async def shown() -> bool:
            return "Urgent: CannotWait is wrong." in await read_titles(home)

        await eventually(shown)
        assert "CanWait is wrong." not in await read_titles(home)
        client = stack.client
        assert {alert.name for alert in await client.read_alerts()} == {"CanWait", "CannotWait"}
        await client.aclose()
    finally:
        stack.stop()


async def test_delivery_test_names_the_last_hop_of_a_lost_alert(
    home: DemoHomeProcess, tmp_path: Path
) -> None:
    wrong = MonitoringStack(tmp_path / "wrong", {"webhook_url": f"{home.webhook_url}x"})
    sender = wrong.client
    try:
        async with connect(home) as client:
            unreachable = await alert_delivery.run_delivery_test(
                sender, client.read_notifications, limit_s=1
            )
            assert not unreachable.ok
            assert "alertmanager does not answer" in unreachable.why

            wrong.start_alertmanager()
            await wrong.wait_until_ready()
            without_watchdog = await alert_delivery.run_delivery_test(
                sender, client.read_notifications, limit_s=1
            )
            assert not without_watchdog.ok
            assert not without_watchdog.hops
            assert "no Watchdog" in without_watchdog.why

            await fire(wrong, "Watchdog", severity="none")
            lost = await alert_delivery.run_delivery_test(
                sender, client.read_notifications, limit_s=3
            )
            assert not lost.ok
            assert [hop.name for hop in lost.hops] == ["Prometheus", "Alertmanager"]
            assert "home_assistant_webhook" in lost.why
            assert lost.error().code == "alert_lost"

            async def over() -> bool:
                return all(
                    alert.name != alert_delivery.TEST_ALERT for alert in await sender.read_alerts()
                )

            await eventually(over)
    finally:
        await sender.aclose()
        wrong.stop()


async def test_critical_alerts_are_mailed_and_the_watchdog_is_the_heartbeat(tmp_path: Path) -> None:
    beats: list[dict[str, Any]] = []

    async def beat(request: Request) -> Response:
        beats.append(await request.json())
        return Response()

    mails: list[str] = []
    server = await asyncio.start_server(_make_smtp_handler(mails), "127.0.0.1", 0)
    password = tmp_path / "password"
    password.write_text("secret")
    async with serve_app(Starlette(routes=[Route("/beat", beat, methods=["POST"])])) as outside:
        stack = MonitoringStack(
            tmp_path / "mail",
            {
                "heartbeat_url": f"{outside}/beat",
                "mail_to": "family@example.org",
                "mail_from": "barnabee@example.org",
                "mail_host": f"localhost:{server.sockets[0].getsockname()[1]}",
                "mail_user": "barnabee",
                "mail_password_file": str(password),
                "mail_tls": False,
            },
        )
        try:
            stack.start_alertmanager()
            await stack.wait_until_ready()
            await fire(stack, "Watchdog", severity="none")
            await fire(stack, "Critical", severity="critical")
            await fire(stack, "Minor", severity="warning")
            await fire(stack, "HomeAssistantDown", severity="warning", path="mail")

            async def both() -> bool:
                text = "".join(mails)
                return (
                    bool(beats)
                    and "Critical is wrong." in text
                    and "HomeAssistantDown is wrong." in text
                )

            await eventually(both)
            assert "Subject: BarnabeeNet: Critical is wrong." in "".join(mails)
            assert "Minor" not in "".join(mails)
            assert beats[0]["alerts"][0]["labels"]["alertname"] == "Watchdog"
        finally:
            stack.stop()
            server.close()


def _make_smtp_handler(mails: list[str]) -> Any:
    """Return a connection handler that accepts every mail (a minimum of RFC 5321)."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"EHLO":
                writer.write(b"250-here\r\n250 AUTH PLAIN\r\n")
            elif word == b"AUTH":
                writer.write(b"235 yes\r\n")
            elif word == b"DATA":
                writer.write(b"354 go on\r\n")
                mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                writer.write(b"250 thanks\r\n")
            elif word == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 yes\r\n")
        writer.close()

    return handle
