"""Home Assistant as a child process that never outlives this one."""

from __future__ import annotations

import asyncio
import ctypes
import secrets
import shutil
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path

import structlog

from barnabee.up.demo_home import config
from barnabee.up.demo_home.config import DemoHome, DemoHomeFailed

_STOP_GRACE_S = 20  # Home Assistant saves its states when it stops: 0.6 s when idle
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_log = structlog.get_logger()


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
    _require_free_port(home.port)
    home.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_configuration(home)
    libc = ctypes.CDLL(None)
    with home.output_file.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            *config.make_command(python, home),
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
    home.configuration_file.write_text(config.render_configuration(home.port), encoding="utf-8")
    shutil.rmtree(home.packages_directory, ignore_errors=True)
    home.packages_directory.mkdir()
    for package in home.packages:
        shutil.copyfile(package, home.packages_directory / package.name)
    webhook_id = config.read_secret(home.webhook_file)
    if webhook_id is None:
        webhook_id = secrets.token_hex(16)
        config.write_secret(home.webhook_file, webhook_id)
    config.write_secret(home.secrets_file, f"barnabee_webhook_id: {webhook_id}")


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
    if not any(venv.glob("lib/python3*/site-packages/homeassistant/__main__.py")):
        raise DemoHomeFailed(
            problem=f"has no Home Assistant in {venv}",
            remedy="install requirements/home-assistant.txt into that virtual environment",
        )
    return venv / "bin" / "python"


def _require_free_port(port: int) -> None:
    """Raise DemoHomeFailed if the port is in use: Home Assistant would run without its HTTP API."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoHomeFailed(
                problem=f"cannot listen on port {port} ({error.strerror})",
                remedy="stop the program that uses it, or choose another port",
            ) from error
