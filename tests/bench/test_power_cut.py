"""Starts after a power cut: everything is killed and the files are torn at random places.

Two kinds of rounds alternate. After a *power cut* only what was written after the last sync is
torn: cut, zero-filled, or with pages that are missing before later ones that are there. The log of
the database is synced at each commit, so only an unfinished transaction behind it is torn. Every
turn that was in the database, or was acknowledged by Redis before the sync, must be there again.
After a *disk fault* any part may be torn: the deployment must be back by itself all the same, and
the log must name each loss.

`BARNABEE_SEED` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tomli_w

from barnabee.clients.queue import JobQueue
from barnabee.core import system as system_module
from barnabee.core.redis_client import RedisClient, add_password
from barnabee.core.schema import System
from barnabee.core.settings import override_environment
from barnabee.store import database_files
from barnabee.up.redis_server import ensure_passwords
from support.benchmark import choose_size, is_at_most
from support.redis import find_servers
from support.s3 import S3Server
from support.turn_records import make_turn
from support.wait import find_free_port

ROOT = Path(__file__).parents[2]
ROUNDS = choose_size(200, 6)
BACK_WITHIN_S = 60
STILL_FOR_S, POLL_S = 2.0, 0.1
PAGE = 4096
NODES = {
    "redis": ("-m", "barnabee.up.redis_server"),
    "litestream": ("-m", "barnabee", "replicate"),
    "worker": ("-m", "barnabee.workers"),
}
# Events that name a loss, or damage that was repaired without one.
NAMING = (
    "redis_data_damaged",
    "litestream_state_damaged",
    "database_log_damaged",
    "database_log_cut",
    "database_corrupt",
    "job_dead_lettered",
)


@dataclass
class SmallDeployment:
    """Redis, worker and litestream as real processes, restarted when they end, and an S3 server."""

    root: Path
    s3: S3Server
    short: Path
    system: System = field(init=False)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        text = system_module.find_system_file().read_text(encoding="utf-8")
        system = system_module.parse_system(text)
        assert isinstance(system, System)
        data = system.model_dump(mode="json", exclude_none=True, by_alias=True)
        for name in NODES:
            data["service"][name]["port"] = find_free_port()
        data["probe"]["every_s"] = 0
        self.credentials.mkdir(parents=True)
        self.data.mkdir()
        self.system_file.write_text(tomli_w.dumps(data), encoding="utf-8")
        parsed = system_module.parse_system(self.system_file.read_text(encoding="utf-8"))
        assert isinstance(parsed, System), parsed
        self.system = parsed
        ensure_passwords(self.credentials, ("api", "worker"))
        for name, value in (
            ("api_token", "token-of-this-test"),
            ("b2_key_id", self.s3.key_id),
            ("b2_application_key", self.s3.application_key),
        ):
            (self.credentials / name).write_text(value, encoding="utf-8")

    @property
    def credentials(self) -> Path:
        return self.root / "credentials"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def database(self) -> Path:
        return self.data / "barnabee.db"

    @property
    def system_file(self) -> Path:
        return self.root / "system.toml"

    @property
    def log(self) -> Path:
        return self.root / "all.log"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "BARNABEE_SYSTEM": str(self.system_file),
            "BARNABEE_DATA": str(self.data),
            "BARNABEE_LITESTREAM_SOCKET": str(self.short / "l.sock"),
            "BARNABEE_REPLICA_ENDPOINT": self.s3.url,
            "CREDENTIALS_DIRECTORY": str(self.credentials),
            "DATABASE_PATH": str(self.database),
            "RUNTIME_DIRECTORY": str(self.short),
        }

    def start(self, name: str) -> None:
        arguments: list[str] = []
        if name == "redis":
            directory = self.data / "redis"
            directory.mkdir(exist_ok=True)
            options = {
                "port": self.system.port("redis"),
                "dir": directory,
                "appendonly": "yes",
                "appendfsync": "no",
                "save": "",
            }
            arguments = [find_servers()[0]]
            arguments += [
                text for key, value in options.items() for text in (f"--{key}", str(value))
            ]
        with self.log.open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *NODES[name], *arguments],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def supervise(self) -> None:
        """Start what does not run, as the runner does."""
        for name in NODES:
            if name not in self.processes or self.processes[name].poll() is not None:
                self.start(name)

    def kill_all(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGKILL)
        for process in self.processes.values():
            process.wait()
        self.processes.clear()

    def read_turns(self) -> set[str]:
        """Return the trace ids in the database; empty while it cannot be read."""
        with suppress(sqlite3.Error), database_files.open_read_only(self.database) as link:
            return {row[0] for row in link.execute("SELECT trace_id FROM turns")}
        return set()

    def read_log_from(self, offset: int) -> str:
        with self.log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")


@dataclass(frozen=True)
class SyncedState:
    """Content of all files at the moment of a sync, and the turns that were acknowledged before."""

    files: dict[Path, bytes]
    turns: set[str]

    @classmethod
    def of(cls, deployment: SmallDeployment, acknowledged: set[str]) -> SyncedState:
        turns = set(acknowledged)
        files = {}
        for file in list_files(deployment):
            with suppress(FileNotFoundError):
                files[file] = file.read_bytes()
        return cls(files, turns)


def list_files(deployment: SmallDeployment) -> list[Path]:
    """Return the files whose content may be torn."""
    state = deployment.database.with_name(f".{deployment.database.name}-litestream")
    return sorted(
        file
        for folder in (deployment.data / "redis", state)
        for file in folder.rglob("*")
        if file.is_file() and "damaged" not in str(file)
    ) + [
        file
        for end in ("-wal", "-shm")
        if (file := deployment.database.with_name(deployment.database.name + end)).exists()
    ]


def tear_unsynced(file: Path, synced: bytes, dice: random.Random) -> str:
    """Tear what differs from the synced content, as a power cut may; return what was done."""
    now = file.read_bytes()
    if file.name.endswith("-wal"):
        behind = dice.choice((b"", bytes(PAGE), dice.randbytes(PAGE + 24)))
        file.write_bytes(now + behind)
        return "continued" if behind else "kept"
    kinds: dict[str, Callable[[], bytes]] = {
        "kept": lambda: now,
        "cut": lambda: now[: dice.randint(min(len(synced), len(now)), len(now))],
        "zero-filled": lambda: zero_tail(now, min(len(synced), len(now)), dice),
        "reordered": lambda: mix_pages(now, synced, dice),
        "not written": lambda: synced or now,
    }
    if now[: len(synced)] != synced:  # overwritten from its beginning, not appended to
        kinds = {name: kinds[name] for name in ("kept", "reordered", "not written")}
    kind = dice.choice(list(kinds))
    file.write_bytes(kinds[kind]())
    return kind


def zero_tail(now: bytes, first: int, dice: random.Random) -> bytes:
    begin = dice.randint(first, len(now))
    return now[:begin] + bytes(len(now) - begin)


def mix_pages(now: bytes, synced: bytes, dice: random.Random) -> bytes:
    """Return pages of which some were not written."""
    padded = synced.ljust(len(now), b"\0")
    return b"".join(
        (now if dice.random() < 0.5 else padded)[start : start + PAGE]
        for start in range(0, len(now), PAGE)
    )[: len(now)]


def tear_anywhere(file: Path, dice: random.Random) -> str:
    """Tear any part of a file, as a failing disk may; return what was done."""
    now = file.read_bytes()
    begin = dice.randint(0, len(now))
    page = begin // PAGE * PAGE
    kinds: dict[str, Callable[[], object]] = {
        "cut": lambda: file.write_bytes(now[:begin]),
        "zero-filled": lambda: file.write_bytes(now[:begin] + bytes(len(now) - begin)),
        "page zeroed": lambda: file.write_bytes(
            (now[:page] + bytes(PAGE) + now[page + PAGE :])[: len(now)]
        ),
        "empty": lambda: file.write_bytes(b""),
        "deleted": file.unlink,
    }
    kind = dice.choice(list(kinds))
    kinds[kind]()
    return kind


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[SmallDeployment]:
    s3 = S3Server(tmp_path / "s3", system_module.load_system().replica.bucket)
    s3.start()
    with tempfile.TemporaryDirectory() as short:
        deployment = SmallDeployment(tmp_path / "deployment", s3, Path(short))
        yield deployment
        deployment.kill_all()
    s3.kill()


class TurnSource:
    """Enqueues turns as the api does; those that Redis acknowledged are `acknowledged`."""

    def __init__(self, deployment: SmallDeployment) -> None:
        with override_environment({"CREDENTIALS_DIRECTORY": str(deployment.credentials)}):
            url = add_password(f"redis://127.0.0.1:{deployment.system.port('redis')}/0", "api")
        self._client = RedisClient(url)
        self._queue = JobQueue(self._client)
        self._number = 0
        self.acknowledged: set[str] = set()

    async def enqueue(self) -> str | None:
        """Return the trace id of a new turn, None if it was refused."""
        self._number += 1
        turn = make_turn(self._number)
        with suppress(Exception):
            await self._queue.enqueue("record_turn", turn.as_dict(), job_id=turn.trace_id)
            self.acknowledged.add(turn.trace_id)
            return turn.trace_id
        return None

    async def aclose(self) -> None:
        await self._client.aclose()


async def wait_until_back(deployment: SmallDeployment, source: TurnSource) -> float:
    """Return after how many seconds a new turn is in the database."""
    begun = time.monotonic()
    wanted: set[str] = set()
    mark = deployment.log.stat().st_size if deployment.log.exists() else 0
    while time.monotonic() - begun < 2 * BACK_WITHIN_S:
        deployment.supervise()
        if (new := await source.enqueue()) is not None:
            wanted.add(new)
        await asyncio.sleep(0.25)
        # Not earlier: to open the database is to repair its index, which is evidence of a loss.
        if "job_done" in deployment.read_log_from(mark) and wanted & deployment.read_turns():
            return time.monotonic() - begun
    log = deployment.read_log_from(0)[-4000:]
    raise AssertionError(f"not back within {2 * BACK_WITHIN_S} s: {log}")


async def find_missing(deployment: SmallDeployment, turns: set[str]) -> set[str]:
    """Return those of `turns` that are not in the database and do not come any more."""
    missing, unchanged = turns - deployment.read_turns(), 0
    while missing and unchanged < STILL_FOR_S / POLL_S:
        await asyncio.sleep(POLL_S)
        before, missing = missing, turns - deployment.read_turns()
        unchanged = unchanged + 1 if missing == before else 0
    return missing


async def run_round(
    deployment: SmallDeployment, source: TurnSource, dice: random.Random
) -> SyncedState:
    """Write turns, sync at a random moment, write more, and kill everything."""
    for _ in range(dice.randint(0, 15)):
        await source.enqueue()
    synced = SyncedState.of(deployment, source.acknowledged)
    for _ in range(dice.randint(1, 15)):
        await source.enqueue()
        if dice.random() < 0.3:
            await asyncio.sleep(dice.random() * 0.2)
    deployment.kill_all()
    return synced


@pytest.mark.timeout(3 * 3600)
async def test_torn_files_are_repaired_or_named(deployment: SmallDeployment) -> None:
    seed = int(os.environ.get("BARNABEE_SEED", "20261129"))
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311
    source, done, times, losses = TurnSource(deployment), Counter[str](), [], Counter[str]()
    lost = set[str]()
    await wait_until_back(deployment, source)
    for number in range(ROUNDS):
        synced = await run_round(deployment, source, dice)
        before = deployment.read_turns()
        is_fault = number % 2 == 1
        files = list_files(deployment)
        torn = []
        if is_fault:
            file = dice.choice(files)
            torn.append(f"{file.name} {tear_anywhere(file, dice)}")
        else:
            for file in files:
                kind = tear_unsynced(file, synced.files.get(file, b""), dice)
                torn += [f"{file.name} {kind}"] if kind != "kept" else []
        done.update(torn_one.rpartition(" ")[2] for torn_one in torn)
        mark = deployment.log.stat().st_size
        times.append(await wait_until_back(deployment, source))
        missing = await find_missing(deployment, source.acknowledged - lost)
        lost |= missing
        text = deployment.read_log_from(mark)
        if is_fault:
            losses["turns after a disk fault"] += len(missing)
            is_named = any(event in text for event in NAMING)
            assert is_named or not missing, (seed, number, torn, len(missing), text[-3000:])
        else:
            losses["unsynced turns"] += len(missing)
            safe = missing & (before | synced.turns)
            assert not safe, (seed, number, torn, len(safe), text[-3000:])
        print(f"{number}: {', '.join(torn) or 'nothing'}; back after {times[-1]:.1f} s", flush=True)
    await source.aclose()
    print(f"{ROUNDS} starts, torn: {dict(done)}, lost: {dict(losses)}")
    print(
        f"back after {sorted(times)[len(times) // 2]:.1f} s (median), {max(times):.1f} s (longest)"
    )
    assert is_at_most(max(times), BACK_WITHIN_S)
