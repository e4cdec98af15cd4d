"""Remote deployment over SSH: build a host's system, copy it, have it switched, confirm it.

The confirmation uses a new connection, so a system that cuts the network is never confirmed and
rolls back.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from barnabee.deploy import executor
from barnabee.deploy.command import CommandResult, StepFailed, run_checked, run_command
from barnabee.deploy.host_check import NIX
from barnabee.deploy.journal import SwitchRecord, SwitchState
from barnabee.deploy.plan import SwitchRequest

BUILD_S = 4 * 3600.0
_COPY_S = 3600.0
_START_S = 120.0
_QUERY_S = 30.0
_POLL_S = 1.0
_UNREACHABLE_S = 60.0  # beyond the host's own limits
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
_SSH_NEW = (*SSH, "-o", "ControlPath=none")  # never over a shared connection
_BIN = "/run/current-system/sw/bin"


def system_attribute(flake: str, name: str) -> str:
    """Return `flake#attribute` of a host's system; `flake` may end in `#host` itself."""
    url, _, host = flake.partition("#")
    return f"{url}#nixosConfigurations.{host or name}.config.system.build.toplevel"


def build_system(flake: str, name: str) -> Path:
    """Build the system `name` of a flake on this machine."""
    command = build_command(system_attribute(flake, name))
    return Path(run_checked(*command, limit_s=BUILD_S).strip().splitlines()[-1])


def build_command(attribute: str) -> tuple[str, ...]:
    return (*NIX, "build", "--no-link", "--print-out-paths", attribute)


def copy_command(path: str, destination: str) -> tuple[str, ...]:
    return (*NIX, "copy", "--substitute-on-destination", "--to", destination, path)


@dataclass(frozen=True)
class DeployPlan:
    """Deployment to one host, as commands."""

    host: str
    address: str  # user@machine
    flake: str
    request: SwitchRequest

    def build_command(self) -> tuple[str, ...]:
        return build_command(system_attribute(self.flake, self.host))

    def copy_command(self, system: str) -> tuple[str, ...]:
        return copy_command(system, f"ssh-ng://{self.address}")

    def switch_command(self, system: str) -> tuple[str, ...]:
        """Use the host's own `barnabee-switch`, or for the first deployment that of `system`."""
        arguments = [system, "--detach", *executor.switch_arguments(self.request)[3:]]
        program = (
            f"p={_BIN}/barnabee-switch; [ -x $p ] || p={shlex.quote(system)}/sw/bin/barnabee-switch"
        )
        return (*_SSH_NEW, self.address, f"{program}; exec $p {shlex.join(arguments)}")

    def deploys_command(self, system: str, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs `barnabee deploys` on the host."""
        program = f"p={_BIN}/barnabee; [ -x $p ] || p={shlex.quote(system)}/sw/bin/barnabee"
        return (*_SSH_NEW, self.address, f"{program}; exec $p deploys {shlex.join(arguments)}")

    def describe(self) -> list[str]:
        """Return the commands for a dry run, with SYSTEM in place of the built system."""
        system = "SYSTEM"
        commands = [self.build_command(), self.copy_command(system), self.switch_command(system)]
        if self.request.confirm:
            commands.append(self.deploys_command(system, "confirm", "ID"))
        return [shlex.join(command) for command in commands]


def deploy_host(plan: DeployPlan, report: Callable[[str], None]) -> SwitchRecord:
    """Deploy and return the host's record; StepFailed when the host becomes unreachable."""
    report(f"building {plan.host}")
    system = run_checked(*plan.build_command(), limit_s=BUILD_S).strip().splitlines()[-1]
    report(f"copying {Path(system).name} to {plan.address}")
    run_checked(*plan.copy_command(system), limit_s=_COPY_S)
    report("switching")
    output = run_checked(*plan.switch_command(system), limit_s=_START_S)
    return follow_host(plan, system, output.strip().splitlines()[-1], report)


def follow_host(
    plan: DeployPlan,
    system: str,
    record_id: str,
    report: Callable[[str], None],
    *,
    patience_s: float = _UNREACHABLE_S,
) -> SwitchRecord:
    """Report the host's steps, and confirm the switch when it waits for that."""
    reported = 0
    last_contact_s = time.monotonic()
    limit_s = patience_s
    show = plan.deploys_command(system, "show", record_id, "--json")
    while True:
        record = _parse_record(run_command(*show, limit_s=_QUERY_S))
        if record is not None:
            last_contact_s = time.monotonic()
            limits = record.limits
            limit_s = patience_s + limits.switch_s + limits.settle_s + limits.confirm_s
            for step in record.steps[reported:]:
                report(step.describe())
            reported = len(record.steps)
            if record.is_final or record.state == SwitchState.BOOTING:
                return record
            if record.state == SwitchState.WAITING:
                confirm = plan.deploys_command(system, "confirm", record_id)
                run_command(*confirm, limit_s=_QUERY_S)
        elif time.monotonic() - last_contact_s > limit_s:
            reason = f"{plan.address} does not answer; without confirmation it rolls back"
            raise StepFailed(what=f"following {record_id}", reason=reason)
        time.sleep(_POLL_S)


def _parse_record(result: CommandResult) -> SwitchRecord | None:
    if result.status:
        return None
    try:
        return SwitchRecord.model_validate_json(result.output)
    except ValidationError:
        return None


def run_over_ssh(address: str, command: Sequence[str]) -> int:
    """Run a command on a machine, attached to this terminal; return its exit status."""
    return subprocess.run([*_SSH_NEW, address, shlex.join(command)], check=False).returncode
