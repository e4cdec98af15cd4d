"""Real Home Assistant, started as users start it, in a directory of the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import barnabee
from barnabee.up.demo_home.config import DemoHome
from barnabee.up.demo_home.onboard import open_connection
from support.wait import LAST_RESORT_S, eventually, find_free_port

_SOURCE = Path(barnabee.__file__).parents[1]
_START_S = 90
_VENV = "BARNABEE_HOME_ASSISTANT_VENV"


@dataclass
class DemoHomeProcess:
    """Process of the demo home; its data survives `stop` and `start`."""

    directory: Path
    port: int = field(default_factory=find_free_port)
    packages: tuple[Path, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> DemoHome:
        return DemoHome(directory=self.directory / "config", port=self.port)

    @property
    def webhook_url(self) -> str:
        """Return the webhook URL of alerts, which exists after the first start."""
        return f"{self.home.url}api/webhook/{self.home.webhook_file.read_text().strip()}"

    @property
    def token_file(self) -> Path:
        return self.directory / "token"

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()

    @property
    def log(self) -> str:
        """Return our log of the last run."""
        return (self.directory / "log").read_text()

    def command(self, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "barnabee.up.demo_home"),
            *("--venv", find_home_assistant_venv()),
            *("--config-dir", str(self.home.directory)),
            *("--port", str(self.port)),
            *("--token-file", str(self.token_file)),
            *(word for path in self.packages for word in ("--package", str(path))),
            *more,
        ]

    async def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, env=make_environment()
            )

        async def ready() -> bool:
            return "demo_home_ready" in self.log or self.process is None or self._ended()

        await eventually(ready, within_s=_START_S)
        assert not self._ended(), self.log

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; return the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout=LAST_RESORT_S)
        self.process = None
        return status

    async def call(self, command: str, **fields: object) -> Any:
        """Return the result of one WebSocket command."""
        async with open_connection(self.home.websocket_url, self.token) as connection:
            return await connection.call(command, **fields)

    async def say(self, sentence: str) -> dict[str, Any]:
        """Return the response of Home Assistant's own conversation agent."""
        answer = await self.call("conversation/process", text=sentence, language="en")
        response: dict[str, Any] = answer["response"]
        return response

    async def state(self, entity_id: str) -> dict[str, Any]:
        """Return an entity's state; LookupError where there is no such entity."""
        states = {state["entity_id"]: state for state in await self.call("get_states")}
        found: dict[str, Any] = states[entity_id]
        return found

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None


def find_home_assistant_venv() -> str:
    """Return the virtual environment of Home Assistant; AssertionError names what to set."""
    if not (venv := os.environ.get(_VENV)):
        msg = (
            f"{_VENV} is not set: point it at a virtual environment in which "
            "requirements/home-assistant.txt is installed"
        )
        raise AssertionError(msg)
    return venv


def make_environment() -> dict[str, str]:
    """Return the environment in which `python -m barnabee…` finds the code under test."""
    return {**os.environ, "PYTHONPATH": str(_SOURCE)}
