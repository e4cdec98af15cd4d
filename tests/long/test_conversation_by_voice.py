"""Dinner is cooked with the assistant: 40 sentences by voice, and what is heard in return.

Real api, worker, voice service, Home Assistant, Whisper and Kokoro; a language model that answers
as scripted. The sentences are Kokoro's in another voice than the assistant's. Replies are
transcribed by Whisper after the conversation. With BARNABEE_CONVERSATION_PAGE the transcript is
written there.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from barnabee.audio import wav
from barnabee.clients.gpu import GpuClient
from barnabee.up.demo_home.websocket_api import open_connection
from support.api import ApiProcess
from support.asgi_server import serve_app
from support.demo_home import DemoHomeProcess
from support.fake_llm import FakeLlmServer, ScriptedAnswer
from support.filler_recordings import record_fillers
from support.first_week import Dialogue, find_item_problems, find_state_problems
from support.first_week_api import ApiHousehold
from support.gpu import TOKEN, GpuProcess
from support.redis import RedisServer
from support.room_client import RATE_HZ, Exchange, RoomClient, open_room_client, speak_as_user
from support.spoken_dialogue import Record, SpokenTurn, judge, load_spoken_turns, make_table
from support.voice import Samples, VoiceService, run_voice_service
from support.worker import WorkerProcess

pytestmark = [pytest.mark.alone, pytest.mark.timeout(1200)]

CONVERSATION = Path(__file__).parents[1] / "data/cooking_dinner.toml"
ROOM = "kitchen"
TOKENS_PER_S = 30
MIN_TURNS, MIN_RIGHT = 40, 36
NOT_NEEDED = "I have nothing to say about that."
PAGE = """# A conversation by voice

Dinner in the kitchen, in full: what was said (by Kokoro in another voice, into the microphone of a
room), what Whisper heard, what the assistant replied, and what Whisper heard of the spoken reply.
Real services and Home Assistant's demo home on two CPU cores with the smallest models; the
language model's two answers are scripted. Written by `tests/long/test_conversation_by_voice.py` on
{date}: {right} of {all} turns right.
"""


@dataclass(frozen=True)
class Said:
    """A turn: what came of it, what is wrong at home, and the ring before it."""

    spoken: SpokenTurn
    exchange: Exchange
    problems: list[str]
    ring: tuple[str, Samples] | None


@dataclass
class Kitchen:
    """All that runs during the conversation."""

    client: RoomClient
    household: ApiHousehold
    model: FakeLlmServer


@asynccontextmanager
async def run_kitchen(gpu: GpuProcess, directory: Path) -> AsyncIterator[Kitchen]:
    async with AsyncExitStack() as stack:
        redis, home = RedisServer(directory / "redis"), DemoHomeProcess(directory / "home")
        redis.start()
        stack.callback(redis.kill)
        await home.start()
        stack.callback(home.stop)
        model = FakeLlmServer(answer=ScriptedAnswer((NOT_NEEDED,)))
        model_url = await stack.enter_async_context(serve_app(model.make_app()))
        api = ApiProcess(directory / "api", redis.url, token=TOKEN, home_token=home.token)
        (data := directory / "voice").mkdir()
        record_fillers(gpu, data / "fillers")
        voice = await stack.enter_async_context(
            run_voice_service(gpu.url, api.url, data, token=TOKEN)
        )
        api.environment = {
            "GPU_SERVICE_URL": gpu.url,
            "HOME_ASSISTANT_URL": home.home.url,
            "VOICE_URL": voice.url,
            "LLM_PROVIDER": "openai",
            "LLM_URL": f"{model_url}/v1",
            "LLM_MODEL": model.model,
        }
        await start_services(api, model, voice, directory / "worker", stack)
        connection = await stack.enter_async_context(
            open_connection(home.home.websocket_url, home.token)
        )
        http = await stack.enter_async_context(api.client())
        client = await stack.enter_async_context(open_room_client(voice, ROOM, TOKEN))
        yield Kitchen(client, ApiHousehold(api, connection, http), model)


async def start_services(
    api: ApiProcess,
    model: FakeLlmServer,
    voice: VoiceService,
    worker_directory: Path,
    stack: AsyncExitStack,
) -> None:
    api.credentials.mkdir(parents=True)
    (api.credentials / "llm_api_key").write_text(model.key, encoding="utf-8")
    stack.callback(api.start().kill)
    await api.wait_until_unhealthy()
    environment = {"API_URL": api.url, "VOICE_URL": voice.url}
    worker = WorkerProcess(
        worker_directory, api.redis_url, api.data, environment=environment, token=TOKEN
    )
    stack.callback(worker.clean_up)
    worker.start()
    await worker.wait_for_health("healthy")


async def have_conversation(
    kitchen: Kitchen, turns: Sequence[SpokenTurn], sentences: Sequence[Samples]
) -> list[Said]:
    """Say all sentences; return what came of each."""
    await kitchen.household.reset(Dialogue("kitchen", (), before={"light.hall_light": "off"}))
    said: list[Said] = []
    states = await kitchen.household.read_states({})
    for spoken, sentence in zip(turns, sentences, strict=True):
        ring = await kitchen.client.hear_ring(spoken.after_ring) if spoken.after_ring else None
        kitchen.model.answer = script(spoken.model or NOT_NEEDED)
        exchange = await kitchen.client.say(sentence, is_interrupted=spoken.is_interrupted)
        after = await kitchen.household.read_states(spoken.turn.states)
        problems = list(find_state_problems(spoken.turn, states, after))
        if spoken.turn.shopping is not None:
            items = await kitchen.household.read_shopping()
            problems += find_item_problems(spoken.turn.shopping, items)
        states = after
        reply = kitchen.client.find_text("reply", exchange)
        print(f"{spoken.turn.say} -> {exchange.heard!r} -> {reply!r} {problems}", flush=True)
        said.append(Said(spoken, exchange, problems, ring))
    return said


def script(text: str) -> ScriptedAnswer:
    """Return the answer of a model, one word after the other."""
    return ScriptedAnswer(tuple(re.findall(r"\S+\s*", text)), gap_s=1 / TOKENS_PER_S)


async def read_back(said: Sequence[Said], kitchen: Kitchen, gpu: GpuClient) -> list[Record]:
    """Transcribe what was heard and judge it."""

    async def transcribe(sound: Samples) -> str:
        return (await gpu.transcribe(wav.encode(sound.tobytes(), RATE_HZ))).text.strip()

    records: list[Record] = []
    for one in said:
        if one.ring is not None:
            text, sound = one.ring
            heard = await transcribe(sound)
            is_heard = one.spoken.after_ring in heard.lower()
            records.append(
                Record("(the timer rings)", "", text, heard, "right" if is_heard else "wrong")
            )
        reply = kitchen.client.find_text("reply", one.exchange)
        problems = list(one.problems)
        if one.spoken.is_interrupted:
            played = kitchen.client.find_text("heard", one.exchange)
            if not (played and reply.startswith(played) and len(played) < len(reply)):
                problems.append(f"played {played!r}")
        record = Record(
            one.spoken.turn.say, one.exchange.heard, reply, await transcribe(one.exchange.sound)
        )
        records.append(judge(one.spoken.turn, record, problems, kitchen.household.now.date()))
    return records


def write_page(records: Sequence[Record], path: str) -> None:
    right = sum(one.verdict == "right" for one in records)
    head = PAGE.format(date=f"{datetime.now(UTC):%-d %B %Y}", right=right, all=len(records))
    Path(path).write_text(f"{head}\n{make_table(records)}", encoding="utf-8")


async def test_dinner_is_cooked_by_voice(
    gpu: GpuProcess,
    http: httpx.Client,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    turns = load_spoken_turns(CONVERSATION)
    assert len(turns) >= MIN_TURNS
    sentences = [speak_as_user(http, spoken.turn.say) for spoken in turns]
    client = GpuClient(gpu.url, TOKEN, timeout_s=120)
    async with run_kitchen(gpu, tmp_path) as kitchen:
        said = await have_conversation(kitchen, turns, sentences)
        records = await read_back(said, kitchen, client)
    await client.aclose()
    with capsys.disabled():
        print("", *records, sep="\n")
    if page := os.environ.get("BARNABEE_CONVERSATION_PAGE"):
        write_page(records, page)
    wrong = [str(one) for one in records if one.verdict != "right"]
    assert [str(one) for one in records if one.verdict == "misleading"] == []
    assert len(wrong) <= len(turns) - MIN_RIGHT, "\n".join(wrong)
