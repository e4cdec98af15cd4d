"""Real Home Assistant, started as users start it, in a directory of the test."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

import barnabee
from barnabee.core.errors import SetupFailed
from barnabee.up import home_assistant
from barnabee.up.console import ProgressSteps
from barnabee.up.demo_home.config import DemoHome
from barnabee.up.demo_home.websocket_api import open_connection
from support.wait import LAST_RESORT_S, eventually, find_free_port

_SOURCE = Path(barnabee.__file__).parents[1]
_START_S = 90
_VENV = home_assistant.VENV_VARIABLE
# For fixtures: the release that this machine uses, and the other one.
BOTH_RELEASES = (
    pytest.param(False, id="this_release"),
    pytest.param(True, id="other_release", marks=pytest.mark.long),
)


def find_home_assistant_venv() -> str:
    """Return the virtual environment of Home Assistant; AssertionError names what to set."""
    if not (venv := os.environ.get(_VENV)):
        msg = (
            f"{_VENV} is not set: point it at a virtual environment in which "
            "requirements/home-assistant.txt is installed"
        )
        raise AssertionError(msg)
    return venv


@dataclass
class DemoHomeProcess:
    """Process of the demo home; its data survives `stop` and `start`."""

    directory: Path
    port: int = field(default_factory=find_free_port)
    packages: tuple[Path, ...] = ()
    venv: str = field(default_factory=find_home_assistant_venv)
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> DemoHome:
        return DemoHome(directory=self.directory / "config", port=self.port)

    @property
    def webhook_url(self) -> str:
        """Return the webhook URL of alerts, which exists after the first start."""
        return f"{self.home.url}api/webhook/{self.home.webhook_file.read_text().strip()}"

    @property
    def year(self) -> int:
        """Return the year of the release."""
        return int((home_assistant.find_release(Path(self.venv)) or "0").partition(".")[0])

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
            *("--venv", self.venv),
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

    async def call_service(self, service: str, entity_id: str, **data: object) -> httpx.Response:
        """Call a service ("light/turn_on") over the REST API, which waits for its end."""
        async with httpx.AsyncClient(trust_env=False, timeout=LAST_RESORT_S) as http:
            return await http.post(
                f"{self.home.url}api/services/{service}",
                json={"entity_id": entity_id, **data},
                headers={"Authorization": f"Bearer {self.token}"},
            )

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


async def provide_venv(*, other: bool) -> str:
    """Return the environment of this machine's release, or of the other one, installed if needed.

    Skips the test where the other release cannot be had.
    """
    own = find_home_assistant_venv()
    if not other:
        return own
    version = home_assistant.find_release(Path(own))
    release = next(one for one in home_assistant.RELEASES if one.version != version)
    steps = ProgressSteps(Console(file=io.StringIO()))
    try:
        python = await home_assistant.provide_python(release, steps)
    except SetupFailed as error:
        pytest.skip(f"no Home Assistant {release.version} here: {error.fields['reason']}")
    await home_assistant.install_release(release, python, steps)
    return str(home_assistant.venv_directory(release))


def make_environment() -> dict[str, str]:
    """Return the environment in which `python -m barnabee…` finds the code under test."""
    return {**os.environ, "PYTHONPATH": str(_SOURCE)}
