"""Cost of a command compared with a bare route with the same JSON, alternating in one run.

The api has instant fake engines and a real Redis; both servers run with `core.serve`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import tomli_w

from support.benchmark import choose_size, is_at_least, is_at_most
from support.redis import RedisServer, write_passwords
from support.wait import eventually, find_free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOKEN = "bench-token"
ROUNDS, ROUND_S = choose_size((9, 1.0), (1, 0.2))
P50_LIMIT_MS, RATIO_LIMIT = 5, 0.5
ATTEMPTS = 3  # because of other load on the machine; all are printed


@dataclass(frozen=True)
class Load:
    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


@dataclass
class Servers:
    directory: Path
    redis: RedisServer
    ports: dict[str, int]
    processes: list[subprocess.Popen[bytes]]

    def start(self, kind: str) -> None:
        home = self.directory / kind
        (home / "data").mkdir(parents=True)
        (home / "credentials").mkdir()
        (home / "credentials" / "api_token").write_text(TOKEN, encoding="utf-8")
        write_passwords(home / "credentials")
        graph = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))
        graph["service"]["api"]["port"] = self.ports[kind] = find_free_port()
        graph["limits"] |= {"commands_per_minute": 1_000_000, "command_burst": 1_000_000}
        (home / "system.toml").write_text(tomli_w.dumps(graph), encoding="utf-8")
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}",
            "BARNABEE_SYSTEM": str(home / "system.toml"),
            "BARNABEE_DATA": str(home / "data"),
            "DATABASE_PATH": str(home / "data" / "barnabee.db"),
            "CREDENTIALS_DIRECTORY": str(home / "credentials"),
            "REDIS_URL": self.redis.url,
        }
        with (home / "log.jsonl").open("wb") as log:
            command = [sys.executable, str(HERE / "api_server.py"), kind]
            self.processes.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )

    async def wait_until_ready(self, kind: str) -> None:
        async def is_ready() -> bool:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.post(
                    f"http://127.0.0.1:{self.ports[kind]}/v1/command",
                    headers={"Authorization": f"Bearer {TOKEN}"},
                    json={"utterance": "turn on the kitchen light", "session_id": "warm"},
                )
            # until the intents are embedded, they are matched by words
            return answer.status_code == 200 and answer.json()["degraded"] == []

        async def check() -> bool:
            try:
                return await is_ready()
            except httpx.TransportError as error:
                raise AssertionError(str(error)) from error

        await eventually(check)

    def load(self, kind: str, connections: int) -> Load:
        arguments = (self.ports[kind], connections, ROUND_S, TOKEN)
        command = [sys.executable, str(HERE / "load.py"), *map(str, arguments)]
        return Load(**json.loads(subprocess.check_output(command, timeout=60)))


@pytest.fixture
def servers(tmp_path: Path, redis_server: RedisServer) -> Iterator[Servers]:
    both = Servers(tmp_path, redis_server, {}, [])
    for kind in ("real", "bare"):
        both.start(kind)
    yield both
    for process in both.processes:
        process.terminate()
        process.wait(timeout=15)


async def test_a_command_costs_little_more_than_a_bare_route(
    servers: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("real", "bare"):
        await servers.wait_until_ready(kind)
        servers.load(kind, 16)  # warm
    for _ in range(ATTEMPTS):
        p50_ms, ratio = measure(servers, capsys)
        if is_at_most(p50_ms, P50_LIMIT_MS) and is_at_least(ratio, RATIO_LIMIT):
            break
    assert is_at_most(p50_ms, P50_LIMIT_MS)
    assert is_at_least(ratio, RATIO_LIMIT)


def measure(servers: Servers, capsys: pytest.CaptureFixture[str]) -> tuple[float, float]:
    """Return the median time of a single command in ms and its rate relative to the bare route."""
    alone = [servers.load("real", 1) for _ in range(choose_size(3, 1))]
    rounds = [(servers.load("real", 16), servers.load("bare", 16)) for _ in range(ROUNDS)]
    assert all(one.failed == 0 for pair in rounds for one in pair)
    p50_ms = statistics.median(one.p50_ms for one in alone)
    ratio = statistics.median(real.rate / bare.rate for real, bare in rounds)
    rate = statistics.median(real.rate for real, _ in rounds)
    with capsys.disabled():
        print(
            f"\n/v1/command: p50 {p50_ms:.2f} ms alone, {rate:.0f}/s with 16 callers, "
            f"{ratio:.2f} of a bare route"
        )
    return p50_ms, ratio
