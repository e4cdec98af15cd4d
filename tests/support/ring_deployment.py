"""Redis, worker and voice service as processes, with rooms that reconnect; timers as the api sets.

Each part can be killed and started again while timers ring.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from websockets.exceptions import InvalidHandshake

from barnabee.api.assistant import DatabaseSchedule
from barnabee.clients.queue import JobQueue
from barnabee.core import system
from barnabee.store.provider import DatabaseProvider
from barnabee.understanding.interfaces import ScheduleEntry
from support.asgi_server import serve_app
from support.gpu_app import ServiceStarter
from support.redis import RedisServer
from support.voice import TOKEN, FakeApi, Microphone, VoiceProcess
from support.wait import eventually
from support.worker import WorkerProcess

RECONNECT_S = 0.1


@dataclass
class Room:
    """A satellite: connects again whenever its connection is lost."""

    name: str
    announced: list[str] = field(default_factory=list)
    microphone: Microphone | None = None

    async def run(self, voice: VoiceProcess) -> None:
        while True:
            with suppress(OSError, InvalidHandshake, AssertionError):
                async with voice.talk(self.name) as microphone:
                    self.microphone = microphone
                    await microphone.wait_until(lambda: microphone.close_code is not None, 3600)
                    texts = microphone.get_messages("announcement")
                    self.announced += [message["text"] for message in texts]
            self.microphone = None
            await asyncio.sleep(RECONNECT_S)

    @property
    def is_connected(self) -> bool:
        return self.microphone is not None and self.microphone.close_code is None


@dataclass
class RingDeployment:
    """The running parts."""

    redis: RedisServer
    worker: WorkerProcess
    voice: VoiceProcess
    schedule: DatabaseSchedule
    rooms: Sequence[Room]
    gpu_url: str

    async def set_timers(self, count: int, due: datetime, *, within: timedelta) -> list[str]:
        """Set timers that are due evenly `within` a time from `due` on, in turn in each room."""
        entries = [
            ScheduleEntry(
                f"{due:%H%M%S}-{number}",
                "timer",
                due + within * number / count,
                label=f"number {number}",
                room=self.rooms[number % len(self.rooms)].name,
            )
            for number in range(count)
        ]
        await asyncio.gather(*map(self.schedule.save, entries))
        return [entry.entry_id for entry in entries]

    async def restart_worker(self) -> None:
        self.worker.stop()
        self.worker.start()

    async def restart_redis(self) -> None:
        self.redis.kill()
        self.redis.start()

    async def restart_voice(self) -> None:
        self.voice.stop(signal.SIGKILL)
        await self.voice.start()

    async def wait_until_up(self) -> None:
        """Wait until jobs are processed and all rooms are connected."""
        await self.worker.wait_for_health("healthy")

        async def connected() -> bool:
            return all(room.is_connected for room in self.rooms)

        await eventually(connected)

    def read_lateness_s(self) -> dict[str, float]:
        """Return how late each entry rang, by its id; without those that have not."""
        with closing(sqlite3.connect(self.worker.database)) as connection:
            rows = connection.execute(
                "SELECT entry_id, due_at, sounded_at FROM schedule WHERE sounded_at IS NOT NULL"
            ).fetchall()
        parse = datetime.fromisoformat
        return {name: (parse(at) - parse(due)).total_seconds() for name, due, at in rows}

    def count_rings(self) -> Counter[str]:
        """Return how often each entry was counted as rung, over all workers."""
        lines = (json.loads(line) for line in self.worker.log.splitlines() if '"rang"' in line)
        return Counter(str(line["ring_id"]).rpartition(".")[0] for line in lines)

    async def wait_until_rung(self, entry_ids: Sequence[str]) -> dict[str, float]:
        async def all_rung() -> bool:
            return set(entry_ids) <= self.read_lateness_s().keys()

        await eventually(all_rung)
        lateness_s = self.read_lateness_s()
        return {entry_id: lateness_s[entry_id] for entry_id in entry_ids}

    async def stop_all(self) -> None:
        """Say "stop" in each room until nothing is left."""

        async def stopped() -> bool:
            for room in self.rooms:
                if room.microphone is not None:
                    await room.microphone.send_message(type="stop")
            entries = await self.schedule.entries()
            return not [entry for entry in entries if entry.state == "ringing"]

        await eventually(stopped)


@asynccontextmanager
async def run_ring_deployment(
    directory: Path, rooms: Sequence[str]
) -> AsyncIterator[RingDeployment]:
    """Start all parts, and the rooms."""
    async with AsyncExitStack() as stack:
        service = await ServiceStarter(stack)()
        gpu_url = await stack.enter_async_context(serve_app(service.running.app, lifespan="off"))
        api_url = await stack.enter_async_context(serve_app(FakeApi().app()))
        redis = RedisServer(directory / "redis")
        redis.start()
        stack.callback(redis.kill)
        voice = VoiceProcess(directory / "voice", gpu_url, api_url)
        await voice.start()
        stack.callback(lambda: voice.stop(signal.SIGKILL))
        worker = WorkerProcess(
            directory / "worker",
            redis.url,
            directory / "data",
            environment={"VOICE_URL": voice.url, "API_URL": api_url},
            token=TOKEN,
        )
        stack.callback(worker.clean_up)
        worker.start()
        await worker.wait_for_health("healthy")
        provider = DatabaseProvider(worker.database, before_migration=None)
        queue = JobQueue(redis.url)
        stack.push_async_callback(provider.close)
        stack.push_async_callback(queue.aclose)
        schedule = DatabaseSchedule(provider, queue, system.load_system().schedule)
        connected = [Room(name) for name in rooms]
        for room in connected:
            task = asyncio.create_task(room.run(voice))
            stack.callback(task.cancel)
        deployment = RingDeployment(redis, worker, voice, schedule, connected, gpu_url)
        await deployment.wait_until_up()
        yield deployment


def now_plus(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
