"""Supervision of a host's systemd units: what systemd itself does not do.

systemd restarts a unit that ends, and one that does not feed its watchdog. This program kills units
that hang, found as the local runner finds them (`probe`, `orphans.is_hung`), and starts those again
that systemd has given up: after 1, 2 and 5 minutes, then every 5, and when a secret changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from barnabee.core.errors import BarnabeeError, DependencyDown
from barnabee.core.files import read_versions
from barnabee.core.schema import ServiceConfig
from barnabee.core.serve import notify
from barnabee.up import orphans, plan
from barnabee.up.plan import NodeStatus, Phase
from barnabee.up.probe import NodeProber, NodeProbeResult

_TARGET = "barnabee.target"
_SYSTEMCTL_TIMEOUT_S = 60.0
_PROBE_EVERY_S = 1.5
_FAILED_EVERY_S = 2.0
_WATCHDOG_EVERY_S = 5.0

log = structlog.get_logger()


async def run_systemctl(*arguments: str) -> str:
    """Return the output of `systemctl …`; DependencyDown when it fails or takes too long."""
    process = await asyncio.create_subprocess_exec(
        "systemctl", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_SYSTEMCTL_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        reason = f"`systemctl {' '.join(arguments)}` took longer than {_SYSTEMCTL_TIMEOUT_S:.0f} s"
        raise DependencyDown(dependency="systemd", reason=reason) from error
    text = output.decode(errors="replace").strip()
    if process.returncode:
        reason = text or f"status {process.returncode}"
        raise DependencyDown(dependency="systemd", reason=reason)
    return text


class UnitSupervisor:
    """Supervises `barnabee-SERVICE.service` of each service; `hosts` is host by service.

    `files` are the secrets.
    """

    def __init__(
        self,
        services: Mapping[str, ServiceConfig],
        hosts: Mapping[str, str],
        files: Sequence[Path],
    ) -> None:
        self._services = services
        self._hosts = hosts
        self._files = files

    async def run(self) -> None:
        """Supervise without end, and feed systemd's watchdog."""
        async with asyncio.TaskGroup() as tasks:
            for name, host in self._hosts.items():
                unit = _Unit(name, self._services[name], host, self._files)
                tasks.create_task(unit.supervise(), name=name)
            notify("READY=1")
            while True:
                notify("WATCHDOG=1")
                await asyncio.sleep(_WATCHDOG_EVERY_S)


class _Unit:
    def __init__(self, name: str, node: ServiceConfig, host: str, files: Sequence[Path]) -> None:
        self._name = name
        self._unit = f"barnabee-{name}.service"
        self._node = node
        self._files = files
        self._prober = NodeProber(host)
        self._status = NodeStatus()
        self._configuration: object = None  # when it failed
        self._responded_s = time.monotonic()

    async def supervise(self) -> None:
        while True:
            try:
                await self._check()
            except BarnabeeError as error:  # systemd does not answer: try again
                log.warning("not supervised", service=self._name, message=str(error))
                await asyncio.sleep(_WATCHDOG_EVERY_S)

    async def _check(self) -> None:
        result = None if self._node.probe == "exit" else await self._prober.probe(self._node)
        if result is not None and result.is_responding:
            self._responded_s, self._status = time.monotonic(), NodeStatus()
            await asyncio.sleep(_PROBE_EVERY_S)
            return
        fields = await run_systemctl("show", "--property=ActiveState,MainPID", self._unit)
        shown = dict(line.partition("=")[::2] for line in fields.splitlines())
        if shown["ActiveState"] == "failed":
            await self._retry()
        elif shown["ActiveState"] != "active":
            self._responded_s = time.monotonic()
        elif result is None:
            self._status = NodeStatus()
        else:
            await self._judge(result, int(shown["MainPID"]))
        await asyncio.sleep(_FAILED_EVERY_S if result is None else _PROBE_EVERY_S / 3)

    async def _judge(self, result: NodeProbeResult, pid: int) -> None:
        silent_s = time.monotonic() - self._responded_s
        is_hung = result.is_silent and await asyncio.to_thread(orphans.is_hung, pid)
        if is_hung or silent_s >= self._node.watchdog_s:
            log.error("hangs", service=self._name, message=result.message, is_hung=is_hung)
            await run_systemctl("kill", "--signal=KILL", self._unit)
            self._responded_s = time.monotonic()

    async def _retry(self) -> None:
        """Start the failed unit if it is due, with those that could not start without it."""
        now_s, configuration = time.monotonic(), read_versions(self._files)
        if self._status.phase not in plan.STUCK:
            self._configuration = configuration
            self._status = plan.record_failure(
                self._node, self._status, now_s, "failed", is_final=True
            )
            retry_s = round(self._status.retry_at_s - now_s)
            log.error("failed", service=self._name, phase=self._status.phase, retry_s=retry_s)
        is_due = now_s >= self._status.retry_at_s or configuration != self._configuration
        if is_due and self._status.phase == Phase.BACKING_OFF:
            log.info("starting", service=self._name)
            self._status = replace(self._status, phase=Phase.STARTING)
            await run_systemctl("reset-failed", self._unit)
            await run_systemctl("start", "--no-block", self._unit, _TARGET)
