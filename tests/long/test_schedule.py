"""Timers ring once, whichever part is killed: real Redis, worker and voice service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.api import ApiProcess
from support.ring_deployment import RingDeployment, now_plus, run_ring_deployment
from support.voice import TOKEN

TIMERS, TOGETHER = 30, 10


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[RingDeployment]:
    async with run_ring_deployment(tmp_path, ["kitchen", "attic"]) as running:
        yield running


async def test_each_timer_rings_once_though_every_part_is_killed(
    deployment: RingDeployment,
) -> None:
    together = await deployment.set_timers(TOGETHER, now_plus(25), within=timedelta(seconds=1))
    others = await deployment.set_timers(
        TIMERS - TOGETHER, now_plus(2), within=timedelta(seconds=30)
    )
    await deployment.restart_worker()
    await deployment.restart_redis()
    await deployment.restart_voice()
    lateness_s = await deployment.wait_until_rung([*together, *others])
    print(f"late: {sorted(lateness_s.values())}")
    assert min(lateness_s.values()) >= -0.01

    await deployment.stop_all()
    for restart in (deployment.restart_worker, deployment.restart_redis, deployment.restart_voice):
        await restart()
    await deployment.wait_until_up()
    last = await deployment.set_timers(1, now_plus(1), within=timedelta())
    await deployment.wait_until_rung(last)
    assert deployment.read_lateness_s().keys() >= set(last)
    assert set(deployment.count_rings()) <= {*together, *others, *last}
    assert set(deployment.count_rings().values()) == {1}
    spoken = [
        text
        for room in deployment.rooms
        if room.microphone
        for text in (message["text"] for message in room.microphone.get_messages("announcement"))
    ]
    assert set(spoken) == {"Your number 0 timer is done."}  # none of those that were stopped


async def test_a_timer_set_by_command_rings_in_its_room_until_stop_is_said(
    deployment: RingDeployment, tmp_path: Path
) -> None:
    environment = {
        "DATABASE_PATH": str(deployment.worker.database),
        "GPU_SERVICE_URL": deployment.gpu_url,
        "VOICE_URL": deployment.voice.url,
    }
    api = ApiProcess(
        tmp_path / "api", deployment.redis.url, environment=environment, token=TOKEN
    ).start()
    kitchen, attic = (room.microphone for room in deployment.rooms)
    assert kitchen is not None
    assert attic is not None
    try:
        await api.wait_until_unhealthy()
        async with api.client() as client:

            async def say(utterance: str, room: str = "kitchen") -> str:
                command = {"utterance": utterance, "session_id": "s", "room": room}
                answer = await client.post("/v1/command", json=command)
                return str(answer.json()["reply"])

            assert (
                await say("set a tea timer for two seconds") == "I set a tea timer for 2 seconds."
            )
            await kitchen.wait_until(lambda: bool(kitchen.get_messages("announcement")))
            assert await say("snooze for one second") == "The tea timer rings again in 1 second."
            await kitchen.wait_for_state("asleep")
            await kitchen.wait_until(lambda: len(kitchen.get_messages("announcement")) == 2)
            assert await say("stop") == "I stopped the tea timer."
            await kitchen.wait_for_state("asleep")
            texts = {message["text"] for message in kitchen.get_messages("announcement")}
            assert texts == {"Your tea timer is done."}
            assert attic.get_messages("announcement") == []

            assert await say("tell everyone that tea is ready") == "I said it in the attic."
            await attic.wait_until(lambda: bool(attic.get_messages("announcement")))
            assert attic.get_messages("announcement")[0]["text"] == "Tea is ready."
            assert await say("what timers are running") == "There is no timer running."
    finally:
        api.kill()
