"""Rings and announcements in the rooms of a real voice service."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from barnabee.core import system
from barnabee.voice.announcements import join_ring_texts
from barnabee.voice.playback import make_ring_chime
from support.voice import TOKEN, Microphone, load_recording, make_silence
from support.voice_stack import VoiceStack, run_voice_stack
from support.wait import eventually

STOP = load_recording("kitchen_light_af_heart")


class Board:
    """What the worker and the api ask of the voice service."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
        )

    async def state(self, *rings: dict[str, Any]) -> dict[str, dict[str, Any]]:
        response = await self.http.put("/v1/rings", json={"rings": rings})
        assert response.status_code == 200, response.text
        return {ring["ring_id"]: ring for ring in response.json()["rings"]}

    async def announce(self, text: str, **options: Any) -> list[str]:
        response = await self.http.post("/v1/announcements", json={"text": text, **options})
        assert response.status_code == 200, response.text
        return list(response.json()["rooms"])


def make_ring(ring_id: str = "pasta.1", room: str | None = "kitchen") -> dict[str, Any]:
    return {
        "ring_id": ring_id,
        "text": f"Your {ring_id} timer is done.",
        "room": room,
        "until": time.time() + 300,
    }


def told(microphone: Microphone) -> list[str]:
    return [message["text"] for message in microphone.get_messages("announcement")]


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[VoiceStack]:
    graph = system.load_system()
    quick = graph.talk.model_copy(update={"follow_up_s": 2})
    async with run_voice_stack(tmp_path, graph.model_copy(update={"talk": quick})) as running:
        yield running


@pytest.fixture
async def board(stack: VoiceStack) -> AsyncIterator[Board]:
    board = Board(stack.voice.url)
    yield board
    await board.http.aclose()


async def test_a_ring_sounds_in_its_room_until_it_is_no_longer_stated(
    stack: VoiceStack, board: Board
) -> None:
    async with stack.voice.talk("kitchen") as kitchen, stack.voice.talk("attic") as attic:
        before_s = time.time()
        assert (await board.state(make_ring()))["pasta.1"]["is_silenced"] is False
        await kitchen.wait_for_state("follow_up")
        status = (await board.state(make_ring()))["pasta.1"]
        assert before_s <= status["sounded_at_s"] <= time.time()
        assert told(kitchen) == ["Your pasta.1 timer is done."]
        assert np.abs(kitchen.samples).max() > 1000
        await kitchen.wait_until(lambda: len(told(kitchen)) == 2)
        await board.state()
        await kitchen.wait_for_state("asleep")
        assert told(attic) == []
        assert await board.state(make_ring("tea.1")) != {}
        await kitchen.wait_until(lambda: told(kitchen)[-1] == "Your tea.1 timer is done.")


async def test_a_ring_whose_room_is_not_connected_sounds_everywhere(
    stack: VoiceStack, board: Board
) -> None:
    assert (await board.state(make_ring(room="cellar")))["pasta.1"]["sounded_at_s"] is None
    async with stack.voice.talk("kitchen") as kitchen, stack.voice.talk("attic") as attic:
        for microphone in (kitchen, attic):
            await microphone.wait_until(lambda heard=microphone: bool(told(heard)))  # type: ignore[misc]
        await attic.send_message(type="talk", on=True)
        await kitchen.wait_for_state("asleep")
        assert (await board.state(make_ring(room="cellar")))["pasta.1"]["is_silenced"]
        rounds = len(told(kitchen))
        await board.state(make_ring(room="cellar"), make_ring("tea.1"))
        await kitchen.wait_until(lambda: len(told(kitchen)) > rounds)
        assert told(kitchen)[-1] == "Your tea.1 timer is done."


async def test_speech_into_a_ring_stops_it_without_a_wake_word(
    stack: VoiceStack, board: Board
) -> None:
    async with stack.voice.talk("kitchen") as kitchen:
        await board.state(make_ring())
        await kitchen.wait_for_state("follow_up")
        await kitchen.send_in_real_time(STOP, make_silence(2.5))
        await kitchen.wait_until(lambda: bool(kitchen.get_messages("reply")))
        await kitchen.wait_for_state("asleep")

        async def is_silenced() -> bool:
            return bool((await board.state(make_ring()))["pasta.1"]["is_silenced"])

        await eventually(is_silenced)
        assert kitchen.state == "asleep"
        assert stack.api.commands[0]["session_id"].startswith("kitchen")


async def test_rings_that_begin_during_a_ring_are_heard_with_it(
    stack: VoiceStack, board: Board
) -> None:
    async with stack.voice.talk("kitchen") as kitchen:
        await board.state(make_ring())
        await kitchen.wait_until(lambda: bool(told(kitchen)) and bool(kitchen.received))
        rings = [make_ring(), *(make_ring(f"timer-{number}") for number in range(10))]
        await board.state(*rings)
        await kitchen.wait_until(lambda: len(told(kitchen)) == 2)
        assert told(kitchen)[1].endswith("Your timer-2 timer is done. And 7 more.")
        assert all(ring["sounded_at_s"] for ring in (await board.state(*rings)).values())
        assert kitchen.get_messages("state")[-1]["turn"] == 1


async def test_an_announcement_waits_for_the_end_of_a_conversation(
    stack: VoiceStack, board: Board
) -> None:
    async with stack.voice.talk("kitchen") as kitchen, stack.voice.talk("attic") as attic:
        await kitchen.send_message(type="talk", on=True)
        await kitchen.wait_for_state("listening")
        assert await board.announce("Dinner is ready.", besides="bath") == ["attic", "kitchen"]
        await attic.wait_until(lambda: told(attic) == ["Dinner is ready."])
        await attic.wait_for_state("asleep")
        assert told(kitchen) == []
        await kitchen.send_message(type="stop")
        await kitchen.wait_until(lambda: told(kitchen) == ["Dinner is ready."])
        assert await board.announce("Again.", rooms=["attic", "cellar"]) == ["attic"]
        assert await board.announce("Again.", besides="attic") == ["kitchen"]


async def test_a_ring_follows_an_announcement_and_has_not_sounded_with_it(
    stack: VoiceStack, board: Board
) -> None:
    async with stack.voice.talk("kitchen") as kitchen:
        await board.announce("Dinner is ready.")
        await board.state(make_ring())
        await kitchen.wait_until(lambda: bool(kitchen.received))
        assert (await board.state(make_ring()))["pasta.1"]["sounded_at_s"] is None
        await kitchen.wait_until(lambda: len(told(kitchen)) == 2)
        assert told(kitchen) == ["Dinner is ready.", "Your pasta.1 timer is done."]


async def test_clients_that_are_no_service_of_ours_can_neither_ring_nor_announce(
    stack: VoiceStack,
) -> None:
    async with httpx.AsyncClient(base_url=stack.voice.url) as client:
        for method, path in (("PUT", "/v1/rings"), ("POST", "/v1/announcements")):
            response = await client.request(method, path, json={"rings": [], "text": "hello"})
            assert response.status_code == 401


def test_many_rings_are_counted_and_the_chime_gets_louder() -> None:
    assert join_ring_texts(["A.", "B."]) == "A. B."
    assert join_ring_texts(["A.", "B.", "C.", "D.", "E."]) == "A. B. C. And 2 more."
    peaks = [
        np.abs(np.frombuffer(make_ring_chime(24_000, level), "<i2")).max() for level in range(3)
    ]
    assert peaks[0] < peaks[1] < peaks[2] <= 32767
