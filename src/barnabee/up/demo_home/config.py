"""Files, configuration and process of the demo home."""

from __future__ import annotations

import asyncio
import ctypes
import json
import secrets
import shutil
import signal
import socket
import tomllib
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from string import Template

import structlog

from barnabee.core.errors import BarnabeeError
from barnabee.core.files import write_atomically
from barnabee.up.home_assistant import find_release

_TEMPLATE = Path(__file__).with_name("configuration.yaml")
_HOME_FILE = Path(__file__).with_name("home.toml")
_COMPONENT = Path(__file__).with_name("component")
# Home Assistant looks for a platform in a module of its name.
_MANIFEST = {"domain": "demo_home", "name": "Demo home", "version": "1.0.0"}
# The step would set up a weather service and an internet radio, which need the network. The format
# is that of homeassistant/components/onboarding (version 4 in both releases).
_DONE_STEPS = {"version": 4, "key": "onboarding", "data": {"done": ["core_config"]}}
# Home Assistant 2026 opens multicast DNS on every network interface that is enabled.
_NETWORK = {"version": 1, "key": "core.network", "data": {"configured_adapters": ["lo"]}}
_PLATFORM = "from . import async_get_service, async_setup_platform\n"
_PORT_MAX = 65535
_STOP_GRACE_S = 20  # Home Assistant saves its states when it stops: 0.6 s when idle
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_log = structlog.get_logger()


class DemoHomeFailed(BarnabeeError):
    """The demo home {problem}: {remedy}."""

    code = "demo_home_failed"


@dataclass(frozen=True)
class DemoHome:
    """One demo home: its directory and its port on loopback.

    `packages` are configuration packages that are copied into it, as a user does with a real one.
    """

    directory: Path
    port: int
    packages: tuple[Path, ...] = ()
    webhook_id_file: Path | None = None

    @property
    def url(self) -> str:
        """The address of its HTTP API; also its OAuth client id (IndieAuth)."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/websocket"

    @property
    def configuration_file(self) -> Path:
        return self.directory / "configuration.yaml"

    @property
    def named_file(self) -> Path:
        """Holds the digest of the home.toml by which the rooms were named."""
        return self.directory / "named-rooms"

    @property
    def packages_directory(self) -> Path:
        return self.directory / "packages"

    @property
    def secrets_file(self) -> Path:
        """The values of `!secret` references."""
        return self.directory / "secrets.yaml"

    @property
    def webhook_file(self) -> Path:
        """Holds the id of the webhook that receives alerts."""
        return self.webhook_id_file or self.directory / "webhook-id"

    @property
    def password_file(self) -> Path:
        """Holds the password of the only user."""
        return self.directory / "owner-password"

    @property
    def storage_directory(self) -> Path:
        """What Home Assistant stores itself, in files of JSON."""
        return self.directory / ".storage"

    @property
    def output_file(self) -> Path:
        """Standard output and error of the last run."""
        return self.directory / "output.log"


def render_configuration(port: int) -> str:
    """Return the text of configuration.yaml; ValueError when `port` is not within 1-65535."""
    if not 1 <= port <= _PORT_MAX:
        msg = f"the port must be between 1 and {_PORT_MAX}, not {port}"
        raise ValueError(msg)
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(port=port)


def read_home_file() -> str:
    """Return the text of home.toml: floors, rooms and devices."""
    return _HOME_FILE.read_text(encoding="utf-8")


def make_command(python: Path, home: DemoHome) -> tuple[str, ...]:
    """Return the command line that runs the home and installs nothing from PyPI."""
    return (
        str(python),
        *("-m", "homeassistant"),
        *("--config", str(home.directory)),
        "--skip-pip",
    )


def read_secret(path: Path) -> str | None:
    """Return the secret in a file, or None when the file is missing or empty."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def write_secret(path: Path, secret: str) -> None:
    """Replace the file atomically, with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{secret}\n", mode=0o600)


async def run_home(
    home: DemoHome, venv: Path, set_up: Callable[[], Coroutine[None, None, None]]
) -> int:
    """Run the home until it ends or SIGTERM or SIGINT arrives; return its exit status.

    Raises DemoHomeFailed when the start or `set_up` fails; the home has ended then.
    """
    stop = _make_stop_event()
    child = await _start(home, venv)
    try:
        await _wait(child, stop, set_up, home)
    finally:
        await _end(child)
    return child.returncode or 0


async def _start(home: DemoHome, venv: Path) -> asyncio.subprocess.Process:
    python = _find_python(venv)
    _require_readable(home, venv)
    _require_free_port(home.port)
    home.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_configuration(home)
    libc = ctypes.CDLL(None)
    with home.output_file.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            *make_command(python, home),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A group of its own, so that it receives each signal once: a second SIGTERM or SIGINT
            # ends Home Assistant before it has saved its states.
            process_group=0,
            # The kernel sends SIGTERM when this process is killed.
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )
    _log.info("demo_home_started", pid=child.pid, url=home.url)
    return child


def _write_configuration(home: DemoHome) -> None:
    """Write the configuration; the webhook's id is generated once."""
    home.configuration_file.write_text(render_configuration(home.port), encoding="utf-8")
    _write_component(home.directory / "custom_components" / "demo_home")
    home.storage_directory.mkdir(exist_ok=True)
    for stored in (_DONE_STEPS, _NETWORK):
        file = home.storage_directory / str(stored["key"])
        if not file.exists():
            write_atomically(file, json.dumps(stored), mode=0o600)
    shutil.rmtree(home.packages_directory, ignore_errors=True)
    home.packages_directory.mkdir()
    for package in home.packages:
        shutil.copyfile(package, home.packages_directory / package.name)
    webhook_id = read_secret(home.webhook_file)
    if webhook_id is None:
        webhook_id = secrets.token_hex(16)
        write_secret(home.webhook_file, webhook_id)
    write_secret(home.secrets_file, f"barnabee_webhook_id: {webhook_id}")


def _write_component(directory: Path) -> None:
    """Copy the integration, with one module for each platform."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(_COMPONENT, directory, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "manifest.json").write_text(json.dumps(_MANIFEST), encoding="utf-8")
    shutil.copyfile(_HOME_FILE, directory / _HOME_FILE.name)
    devices = tomllib.loads(read_home_file())["device"]
    platforms = {entity_id.partition(".")[0] for entity_id in devices}
    for platform in (*platforms, "notify"):
        (directory / f"{platform}.py").write_text(_PLATFORM, encoding="utf-8")


async def _wait(
    child: asyncio.subprocess.Process,
    stop: asyncio.Event,
    set_up: Callable[[], Coroutine[None, None, None]],
    home: DemoHome,
) -> None:
    """Return when the child has ended or is to be stopped; raise the errors of `set_up`."""
    ended, stopping = asyncio.create_task(child.wait()), asyncio.create_task(stop.wait())
    setting_up = asyncio.create_task(set_up())
    tasks = (ended, stopping, setting_up)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and not stop.is_set():
            raise DemoHomeFailed(
                problem=f"ended unexpectedly with status {child.returncode}",
                remedy=f"see {home.output_file}",
            )
        if setting_up.done():
            setting_up.result()
            _log.info("demo_home_ready", url=home.url)
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.terminate()
        try:
            async with asyncio.timeout(_STOP_GRACE_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
    _log.info("demo_home_ended", status=child.returncode)


def _make_stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _find_python(venv: Path) -> Path:
    if find_release(venv) is None:
        raise DemoHomeFailed(
            problem=f"has no Home Assistant in {venv}",
            remedy="install requirements/home-assistant.txt into that virtual environment",
        )
    return venv / "bin" / "python"


def _require_readable(home: DemoHome, venv: Path) -> None:
    """Raise DemoHomeFailed if a newer release has run: an older one cannot read its files."""
    last = read_secret(home.directory / ".HA_VERSION")
    version = find_release(venv)
    if last and version and _parse_version(last) > _parse_version(version):
        raise DemoHomeFailed(
            problem=f"was last run by Home Assistant {last}, whose files {version} cannot read",
            remedy=f"delete its directory {home.directory} to start over with an empty home",
        )


def _parse_version(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _require_free_port(port: int) -> None:
    """Raise DemoHomeFailed if it is in use: Home Assistant would run without its HTTP API."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoHomeFailed(
                problem=f"cannot listen on port {port} ({error.strerror})",
                remedy="stop the program that uses it, or choose another port",
            ) from error
