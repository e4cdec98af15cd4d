"""Two real inference services behind one client: one is killed and restarted."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barnabee.audio import wav
from barnabee.clients.gpu import GpuClient
from barnabee.core.health import Degraded
from support.gpu import TOKEN, GpuProcess, find_models_dir
from support.wait import eventually, wait_until

QUESTION = (Path(__file__).parents[1] / "audio" / "what_time_af_heart.wav").read_bytes()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[list[GpuProcess]]:
    found = [GpuProcess(tmp_path / name, find_models_dir()).start() for name in ("one", "two")]
    try:
        for one in found:
            one.wait_for("/health/ready")
        yield found
    finally:
        for one in found:
            one.stop(signal.SIGKILL)


def count_inferences(service: GpuProcess) -> int:
    return sum(line["event"] == "inference" for line in service.log())


@pytest.mark.alone
@pytest.mark.timeout(400)
async def test_with_one_of_two_killed_every_turn_is_answered(
    services: list[GpuProcess],
) -> None:
    client = GpuClient([one.url for one in services], TOKEN, timeout_s=60)
    one, two = services
    answers: list[str] = []

    async def turn(room: str) -> None:
        async with client.turn(room):
            transcript = await client.transcribe(QUESTION)
            assert (await client.embed([transcript.text])).shape == (1, 384)
            audio = b"".join([part async for part in client.speak("It is five.")])
            assert len(wav.set_length(audio)) > 20_000
        answers.append(re.sub("[^a-z ]", "", transcript.text.lower()).strip())

    async def degraded() -> Degraded | None:
        return await client.ready()

    try:
        assert await client.ready() is None
        await asyncio.gather(*(turn(f"room-{number}") for number in range(4)))
        assert min(count_inferences(one), count_inferences(two)) >= 3
        talking = [asyncio.create_task(turn(f"hall-{number}")) for number in range(4)]
        await wait_until(lambda: count_inferences(one) + count_inferences(two) > 12)
        one.stop(signal.SIGKILL)
        for done in await asyncio.gather(*talking, return_exceptions=True):
            # only a turn whose speech came from the killed service may fail
            assert done is None or "gpu at" in str(done), done
        assert answers
        assert set(answers) == {"what time is it"}
        found = await eventually(degraded)
        assert found is not None
        assert one.url in found.message
        one.start().wait_for("/health/ready")
        before = count_inferences(one)

        async def has_work() -> bool:
            await client.embed(["are you there"])
            return count_inferences(one) > before

        await eventually(has_work)
        assert await client.ready() is None
    finally:
        await client.aclose()
    assert [vram(each)["turns"] for each in services] == [{}, {}]


def vram(service: GpuProcess) -> Any:
    with service.client() as http:
        return http.get("/v1/vram").json()
