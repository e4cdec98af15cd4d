"""Access to Redis: every service has its own user, and nobody else can read or write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from barnabee.clients.queue import JobQueue
from barnabee.core.redis_client import RedisClient, add_password
from barnabee.core.settings import redis_password_name
from barnabee.up.probe import PROBE_USER
from barnabee.up.redis_server import USERS, ensure_passwords
from support.redis import RedisServer, find_servers
from support.turn_records import make_turn
from support.wait import wait_until
from support.worker import ROOT, WorkerProcess

REFUSED = (b"-NOPERM", b"-ERR DEBUG command not allowed")
FORBIDDEN = [
    ("CONFIG", "SET", "appendonly", "no"),
    ("CONFIG", "GET", "*"),
    ("SHUTDOWN", "NOSAVE"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("DEBUG", "SLEEP", "0"),  # refused before the user is looked at
    ("MODULE", "LIST"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("SAVE",),
    ("BGREWRITEAOF",),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "evil", "on", "nopass", "+@all", "~*"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("EVAL", "return 1", "0"),
    ("MONITOR",),
    ("SUBSCRIBE", "news"),
    ("MIGRATE", "127.0.0.1", "1", "key", "0", "1"),
    ("RENAME", "barnabee:session:one", "arq:stolen"),
    ("DUMP", "barnabee:session:one"),
    ("REPLICAOF", "127.0.0.1", "1"),
]


@dataclass
class Deployment:
    """A server that was started as in a deployment, with the passwords in `credentials`."""

    server: RedisServer
    credentials: Path
    log: Path

    def start(self) -> None:
        """Start the server with a new log and wait until it is ready."""
        server = self.server
        options = {"port": server.port, "dir": server.directory, "appendonly": "yes", "save": ""}
        arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "RUNTIME_DIRECTORY": str(self.log.parent / "run"),
            "CREDENTIALS_DIRECTORY": str(self.credentials),
        }
        command = [sys.executable, "-m", "barnabee.up.redis_server", server.program, *arguments]
        with self.log.open("wb") as output:
            server.process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        server.wait_until_ready()

    def send(self, user: str | None, *words: str) -> bytes:
        """Return the reply to a command of `user`; None: of the one without a password."""
        login = (user, self.password(user)) if user is not None else (PROBE_USER, "any")
        return self.server.send(*words, login=login)

    def password(self, user: str) -> str:
        return (self.credentials / redis_password_name(user)).read_text(encoding="utf-8")


@pytest.fixture(params=find_servers())
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    server = RedisServer(tmp_path / "redis", program=request.param)
    server.directory.mkdir()
    credentials = tmp_path / "all"
    credentials.mkdir()
    ensure_passwords(credentials, USERS, b"shared")
    started = Deployment(server, credentials, tmp_path / "redis.log")
    started.start()
    yield started
    server.kill()


def test_without_a_password_only_ping_is_answered(deployment: Deployment) -> None:
    assert deployment.send(None, "PING") == b"+PONG\r\n"
    assert deployment.send("api", "SET", "barnabee:session:one", "private") == b"+OK\r\n"
    for words in (
        *FORBIDDEN,
        ("GET", "barnabee:session:one"),
        ("SET", "arq:job:forged", "{}"),
        ("ZADD", "arq:queue", "1", "forged"),
        ("INFO",),
    ):
        assert deployment.send(None, *words).startswith(REFUSED), words
        assert deployment.server.send(*words).startswith((b"-NOAUTH", b"-ERR DEBUG")), words


@pytest.mark.parametrize("user", USERS)
def test_no_user_has_administrative_commands(deployment: Deployment, user: str) -> None:
    for words in FORBIDDEN:
        if user == "standby" and words[0] == "REPLICAOF":
            continue
        assert deployment.send(user, *words).startswith(REFUSED), words
    assert deployment.send(None, "PING") == b"+PONG\r\n"


def test_a_user_has_only_the_keys_it_uses(deployment: Deployment) -> None:
    assert deployment.send("worker", "GET", "barnabee:session:one").startswith(b"-NOPERM")
    assert deployment.send("worker", "SET", "barnabee:session:one", "x").startswith(b"-NOPERM")
    assert deployment.send("api", "GET", "arq:job:one").startswith(b"-NOPERM")
    assert deployment.send("api", "SET", "barnabee:heartbeat:worker", "1").startswith(b"-NOPERM")
    assert deployment.send("exporter", "GET", "arq:job:one").startswith(b"-NOPERM")
    assert deployment.send("exporter", "INFO").startswith(b"$")


def test_a_wrong_password_is_refused(deployment: Deployment) -> None:
    for login in (("api", "wrong"), ("nobody", ""), ("default", "x")):
        reply = deployment.server.send("GET", "barnabee:session:one", login=login)
        assert reply.startswith((b"-WRONGPASS", b"-NOPERM"))


def test_no_password_is_in_the_command_line_the_environment_or_the_log(
    deployment: Deployment,
) -> None:
    assert deployment.server.process is not None
    process = Path("/proc") / str(deployment.server.process.pid)
    visible = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    for user in USERS:
        password = deployment.password(user).encode()
        assert password not in visible
        assert password not in deployment.log.read_bytes()
    for file in (deployment.log.parent / "run").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


async def test_a_job_passes_from_the_api_to_the_worker(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(deployment.credentials))
    client = RedisClient(add_password(deployment.server.url, "api"))
    worker = WorkerProcess(tmp_path / "worker", deployment.server.url, tmp_path / "data")
    worker.passwords = {"worker": deployment.password("worker")}
    worker.start()
    try:
        turn = make_turn(1)
        await JobQueue(client).enqueue("record_turn", turn.as_dict(), job_id=turn.trace_id)
        await wait_until(lambda: '"job":"record_turn"' in worker.log)
        assert "job_done" in worker.log
        assert worker.stop(signal.SIGTERM) == 0
        assert "NoPermission" not in worker.log
    finally:
        worker.clean_up()
        await client.aclose()


async def test_the_worker_cannot_configure_the_server(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(deployment.credentials))
    url = add_password(deployment.server.url, "worker")
    async with ArqRedis.from_url(url) as link:
        assert await link.ping()
        with pytest.raises(Exception, match="no permissions"):
            await link.config_set("appendonly", "no")


async def test_a_transaction_survives_a_restart(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(deployment.credentials))
    client = RedisClient(add_password(deployment.server.url, "api"))
    keys = ("barnabee:session:one", "barnabee:session:two")
    await client.pipeline().set(keys[0], "x").set(keys[1], "x").execute()
    await client.aclose()
    deployment.server.kill()
    deployment.start()
    for key in keys:
        assert deployment.send("api", "GET", key) == b"$1\r\nx\r\n"


def test_damaged_files_are_repaired_before_the_server_starts(deployment: Deployment) -> None:
    for number in range(10):
        deployment.send("api", "SET", f"barnabee:session:{number}", "x")
    server = deployment.server
    server.kill()
    incremental = next(server.directory.glob("appendonlydir/*.incr.aof"))
    with incremental.open("ab") as file:
        file.write(bytes(700))
    deployment.start()
    assert deployment.send("api", "GET", "barnabee:session:9") == b"$1\r\nx\r\n"
    first = json.loads(deployment.log.read_text(encoding="utf-8").splitlines()[0])
    assert first["event"] == "redis_data_damaged"
    assert first["lost_bytes"] == 700
    assert Path(first["kept"]).is_dir()
