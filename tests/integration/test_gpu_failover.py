"""Two real services with the real models behind one client: one is killed and comes back."""

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
from support.gpu import TOKEN, GpuProcess, models_dir
from support.wait import eventually, until

QUESTION = (Path(__file__).parents[1] / "audio" / "what_time_af_heart.wav").read_bytes()


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[list[GpuProcess]]:
    found = [GpuProcess(tmp_path / name, models_dir()).start() for name in ("one", "two")]
    try:
        for one in found:
            one.wait_for("/health/ready")
        yield found
    finally:
        for one in found:
            one.stop(signal.SIGKILL)


def uses(service: GpuProcess) -> int:
    return sum(line["event"] == "inference" for line in service.log())


@pytest.mark.alone
@pytest.mark.timeout(400)
async def test_one_of_two_is_killed_and_every_question_is_still_answered(
    twins: list[GpuProcess],
) -> None:
    client = GpuClient([one.url for one in twins], TOKEN, timeout_s=60)
    one, two = twins
    answers: list[str] = []

    async def turn(room: str) -> None:
        async with client.turn(room):
            heard = await client.transcribe(QUESTION)
            assert (await client.embed([heard.text])).shape == (1, 384)
            sound = b"".join([part async for part in client.speak("It is five.")])
            assert len(wav.set_length(sound)) > 20_000
        answers.append(re.sub("[^a-z ]", "", heard.text.lower()).strip())

    async def degraded() -> Degraded | None:
        return await client.ready()

    try:
        assert await client.ready() is None
        await asyncio.gather(*(turn(f"room-{number}") for number in range(4)))
        assert min(uses(one), uses(two)) >= 3
        talking = [asyncio.create_task(turn(f"hall-{number}")) for number in range(4)]
        await until(lambda: uses(one) + uses(two) > 12, within_s=60)
        one.stop(signal.SIGKILL)
        for done in await asyncio.gather(*talking, return_exceptions=True):
            # only who was being spoken to by the one that died may have lost something
            assert done is None or "gpu at" in str(done), done
        assert answers
        assert set(answers) == {"what time is it"}
        found = await eventually(degraded, within_s=10)
        assert found is not None
        assert one.url in found.message
        one.start().wait_for("/health/ready")
        before = uses(one)

        async def has_work() -> bool:
            await client.embed(["are you there"])
            return uses(one) > before

        await eventually(has_work, within_s=60)
        assert await client.ready() is None
    finally:
        await client.aclose()
    assert [vram(each)["turns"] for each in twins] == [{}, {}]


def vram(service: GpuProcess) -> Any:
    with service.client() as http:
        return http.get("/v1/vram").json()
