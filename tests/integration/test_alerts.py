"""Alerts all the way: real Prometheus, real Alertmanager, real Home Assistant, a mail server."""

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

from barnabee.alerts import delivery_test
from barnabee.clients.home_assistant import HomeAssistant
from barnabee.up import monitoring_services
from support.alerting import MonitoringStack
from support.demo_home import RunningHome
from support.serve import served
from support.wait import eventually

MISSING = [name for name in monitoring_services.PROGRAMS.values() if shutil.which(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}"),
]
PACKAGE = monitoring_services.monitoring_directory() / "home-assistant" / "barnabee_alerts.yaml"
# A phone of the test's own: what it is sent is written into a file.
PHONE = """
notify:
  - platform: file
    name: phone_of_the_test
    filename: "{directory}/phone"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningHome]:
    directory = tmp_path_factory.mktemp("home")
    phone = directory / "phone.yaml"
    phone.write_text(PHONE.format(directory=directory))
    found = RunningHome(directory, packages=(PACKAGE, phone))
    await found.start()
    await found.call(
        "call_service",
        domain="input_text",
        service="set_value",
        service_data={
            "entity_id": "input_text.barnabee_alert_phones",
            "value": "notify.phone_of_the_test, notify.phone_that_is_gone",
        },
    )
    yield found
    if found.process is not None:
        found.stop()


@pytest.fixture
def watch(tmp_path: Path, home: RunningHome) -> Iterator[MonitoringStack]:
    found = MonitoringStack(tmp_path / "watch", {"webhook_url": home.webhook_url})
    yield found
    found.stop()


async def in_force(home: RunningHome) -> dict[str, int]:
    state = await home.state("sensor.alerts_of_the_assistant")
    marks: dict[str, int] = state["attributes"]["marks"]
    assert int(state["state"]) == len(marks)
    return marks


@asynccontextmanager
async def asked(home: RunningHome) -> AsyncIterator[HomeAssistant]:
    client = HomeAssistant(home.home.url, lambda: home.token)
    client.start()
    yield client
    await client.aclose()


async def fire(watch: MonitoringStack, name: str, **labels: str) -> None:
    """Report an alert that lasts; its summary is its name."""
    now = datetime.now(UTC)
    annotations = {"summary": f"{name} is wrong.", "action": f"Mend {name}."}
    client = watch.client
    try:
        await client.post_alert(
            {"alertname": name, **labels},
            annotations,
            started=now,
            ends=now + timedelta(minutes=10),
        )
    finally:
        await client.aclose()


async def titles(home: RunningHome) -> list[str]:
    return [one["title"] for one in await home.call("persistent_notification/get")]


def on_the_phone(home: RunningHome, text: str) -> int:
    path = home.directory / "phone"
    return path.read_text().count(text) if path.exists() else 0


async def test_a_test_alert_arrives_and_goes(home: RunningHome, watch: MonitoringStack) -> None:
    watch.start_alertmanager()
    watch.start_prometheus()
    await watch.until_ready()
    sender = watch.client
    async with asked(home) as client:
        gone = await delivery_test.run_delivery_test(sender, client.read_notifications, aloud=True, limit_s=60)
    await sender.aclose()
    for hop in gone.hops:
        print(f"{hop.name}: {hop.took_ms:.0f} ms, {hop.seen}")

    assert gone.ok, gone.why
    names = [hop.name for hop in gone.hops]
    assert names == ["Prometheus", "Alertmanager", "Home Assistant", "ended", "dismissed"]
    assert "Urgent" in gone.hops[2].seen
    script = await home.state("script.barnabee_say_aloud")
    assert script["attributes"]["last_triggered"] is not None
    assert on_the_phone(home, "Nothing is to be done") == 1
    assert on_the_phone(home, "clear_notification") == 1
    assert await in_force(home) == {}


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_what_home_assistant_missed_comes_when_it_is_back_and_once(
    home: RunningHome, watch: MonitoringStack
) -> None:
    home.stop()
    watch.start_alertmanager()
    await watch.until_ready()
    await fire(watch, "FiredWhileAway", severity="warning")

    async def tried_twice() -> bool:
        return await watch.sample("alertmanager_notification_requests_failed_total") >= 2

    await eventually(tried_twice, within_s=60)
    await home.start()
    # While it started it may have taken what it did not know yet; what is said from now on is sure.
    before = await watch.sample("alertmanager_notifications_total")

    async def said_again() -> bool:
        return await watch.sample("alertmanager_notifications_total") > before

    await eventually(said_again, within_s=150, every_s=0.5)

    async def shown() -> bool:
        return "FiredWhileAway is wrong." in await titles(home)

    await eventually(shown, within_s=30)
    assert (await titles(home)).count("FiredWhileAway is wrong.") == 1
    assert on_the_phone(home, "Mend FiredWhileAway") == 1


@pytest.mark.long
async def test_what_nobody_repeats_is_taken_away(home: RunningHome) -> None:
    """Alertmanager may have gone with the alert, or Home Assistant have missed its end."""
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
        return "barnabee_old" not in await titles(home)

    await eventually(gone, within_s=90, every_s=0.5)
    assert "barnabee_new" in await titles(home)
    assert "barnabee_new" in await in_force(home)
    assert "barnabee_old" not in await in_force(home)


async def test_a_dead_machine_explains_what_ran_on_it(home: RunningHome, watch: MonitoringStack) -> None:
    watch.start_alertmanager()
    await watch.until_ready()
    await fire(watch, "MachineDead", severity="critical", kind="machine", host="attic")
    for number in range(20):
        await fire(watch, f"PartDead{number}", severity="critical", kind="service", host="attic")
    await fire(watch, "OnlyAnEffect", severity="critical", kind="effect")
    await fire(watch, "PartOfAnotherDead", severity="critical", kind="service", host="cellar")

    async def shown() -> bool:
        wanted = {"Urgent: MachineDead is wrong.", "Urgent: PartOfAnotherDead is wrong."}
        return wanted <= set(await titles(home))

    await eventually(shown, within_s=30)
    found = " ".join(await titles(home))
    assert "PartDead" not in found.replace("PartOfAnotherDead", "")
    assert "OnlyAnEffect" not in found


async def test_at_night_only_what_is_critical_is_told(home: RunningHome, tmp_path: Path) -> None:
    hour = datetime.now().astimezone().hour
    night = {"quiet_from_h": (hour - 1) % 24, "quiet_until_h": (hour + 2) % 24}
    watch = MonitoringStack(tmp_path / "night", {"webhook_url": home.webhook_url}, night)
    try:
        watch.start_alertmanager()
        await watch.until_ready()
        await fire(watch, "CanWait", severity="warning")
        await fire(watch, "CannotWait", severity="critical")

        async def shown() -> bool:
            return "Urgent: CannotWait is wrong." in await titles(home)

        await eventually(shown, within_s=30)
        assert "CanWait is wrong." not in await titles(home)
        client = watch.client
        assert {one.name for one in await client.read_alerts()} == {"CanWait", "CannotWait"}
        await client.aclose()
    finally:
        watch.stop()


async def test_a_trial_says_after_which_hop_it_was_lost(home: RunningHome, tmp_path: Path) -> None:
    wrong = MonitoringStack(tmp_path / "wrong", {"webhook_url": f"{home.webhook_url}x"})
    sender = wrong.client
    try:
        async with asked(home) as client:
            nobody = await delivery_test.run_delivery_test(sender, client.read_notifications, limit_s=1)
            assert not nobody.ok
            assert "alertmanager does not answer" in nobody.why

            wrong.start_alertmanager()
            await wrong.until_ready()
            blind = await delivery_test.run_delivery_test(sender, client.read_notifications, limit_s=1)
            assert not blind.ok
            assert not blind.hops
            assert "no Watchdog" in blind.why

            await fire(wrong, "Watchdog", severity="none")
            lost = await delivery_test.run_delivery_test(sender, client.read_notifications, limit_s=3)
            assert not lost.ok
            assert [hop.name for hop in lost.hops] == ["Prometheus", "Alertmanager"]
            assert "home_assistant_webhook" in lost.why
            assert lost.error().code == "alert_lost"

            async def over() -> bool:
                return all(one.name != delivery_test.TEST_ALERT for one in await sender.read_alerts())

            await eventually(over, within_s=10)
    finally:
        await sender.aclose()
        wrong.stop()


async def test_mail_is_the_second_way_and_the_heartbeat_goes_outside(tmp_path: Path) -> None:
    beats: list[dict[str, Any]] = []

    async def beat(request: Request) -> Response:
        beats.append(await request.json())
        return Response()

    mails: list[str] = []
    server = await asyncio.start_server(_smtp(mails), "127.0.0.1", 0)
    password = tmp_path / "password"
    password.write_text("secret")
    async with served(Starlette(routes=[Route("/beat", beat, methods=["POST"])])) as outside:
        watch = MonitoringStack(
            tmp_path / "mail",
            {
                "heartbeat_url": f"{outside}/beat",
                "mail_to": "family@example.org",
                "mail_from": "house@example.org",
                "mail_host": f"localhost:{server.sockets[0].getsockname()[1]}",
                "mail_user": "house",
                "mail_password_file": str(password),
                "mail_tls": False,
            },
        )
        try:
            watch.start_alertmanager()
            await watch.until_ready()
            await fire(watch, "Watchdog", severity="none")
            await fire(watch, "Dark", severity="critical")
            await fire(watch, "Dim", severity="warning")
            await fire(watch, "HomeAway", severity="warning", path="mail")

            async def both() -> bool:
                text = "".join(mails)
                return bool(beats) and "Dark is wrong." in text and "HomeAway is wrong." in text

            await eventually(both, within_s=30)
            assert "Subject: BarnabeeNet: Dark is wrong." in "".join(mails)
            assert "Dim" not in "".join(mails)
            assert beats[0]["alerts"][0]["labels"]["alertname"] == "Watchdog"
        finally:
            watch.stop()
            server.close()


def _smtp(mails: list[str]) -> Any:
    """Return a mail server that takes everything (RFC 5321, as little as is needed)."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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

    return talk
