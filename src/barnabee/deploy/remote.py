"""The developer's side: build a host's system, copy it there, have it switched, confirm it.

The confirmation comes over a connection of its own: a system that cuts the way to the machine is
never confirmed, and so taken back.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from barnabee.deploy import transient_unit
from barnabee.deploy.command import Done, must, run
from barnabee.deploy.errors import StepFailed
from barnabee.deploy.journal import Record, State
from barnabee.deploy.plan import Order

_BUILD_S = 4 * 3600.0
_COPY_S = 3600.0
_ASK_S = 30.0
_LOOK_EVERY_S = 1.0
_UNREACHABLE_S = 60.0  # beyond the host's own limits
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ControlPath=none")
_BIN = "/run/current-system/sw/bin"


@dataclass(frozen=True)
class Plan:
    """What is done for one host, as commands; the system is known once it is built."""

    host: str
    address: str  # user@machine
    flake: str
    order: Order

    def build(self) -> tuple[str, ...]:
        """Return how the system is built, here."""
        attribute = transient_unit.system_attribute(self.flake, self.host)
        return ("nix", *transient_unit.FLAKES, "build", "--no-link", "--print-out-paths", attribute)

    def copy(self, system: str) -> tuple[str, ...]:
        """Return how it gets there; what the host can fetch by itself does not come from here."""
        to = f"ssh-ng://{self.address}"
        return (
            "nix",
            *transient_unit.FLAKES,
            "copy",
            "--substitute-on-destination",
            "--to",
            to,
            system,
        )

    def switch(self, system: str) -> tuple[str, ...]:
        """Return how the host is told, by its own programs or, the first time, by the new ones."""
        order = shlex.join([system, "--detach", *transient_unit.arguments(self.order)[3:]])
        found = (
            f"p={_BIN}/barnabee-switch; [ -x $p ] || p={shlex.quote(system)}/sw/bin/barnabee-switch"
        )
        return (*_SSH, self.address, f"{found}; exec $p {order}")

    def ask(self, system: str, *words: str) -> tuple[str, ...]:
        """Return how its records are asked."""
        found = f"p={_BIN}/barnabee; [ -x $p ] || p={shlex.quote(system)}/sw/bin/barnabee"
        return (*_SSH, self.address, f"{found}; exec $p deploys {shlex.join(words)}")

    def commands(self) -> list[str]:
        """Return all of it for a person, nothing being done."""
        system = "SYSTEM"
        steps: Sequence[tuple[str, ...]] = (
            self.build(),
            self.copy(system),
            self.switch(system),
            self.ask(system, "confirm", "ID"),
        )
        return [shlex.join(step) for step in steps if self.order.confirm or step is not steps[-1]]


def deploy(plan: Plan, tell: Callable[[str], None]) -> Record:
    """Do it; return the host's record. StepFailed when the host is not reached in the end."""
    tell(f"building {plan.host}")
    system = must(*plan.build(), limit_s=_BUILD_S).strip().splitlines()[-1]
    tell(f"copying {Path(system).name} to {plan.address}")
    must(*plan.copy(system), limit_s=_COPY_S)
    tell("switching")
    record_id = must(*plan.switch(system), limit_s=_ASK_S * 4).strip().splitlines()[-1]
    return follow(plan, system, record_id, tell)


def follow(
    plan: Plan,
    system: str,
    record_id: str,
    tell: Callable[[str], None],
    *,
    patience_s: float = _UNREACHABLE_S,
) -> Record:
    """Tell the host's steps, and confirm when it waits for that."""
    told = 0
    quiet_since_s = time.monotonic()
    limit_s = patience_s
    while True:
        record = _look(run(*plan.ask(system, "show", record_id, "--json"), limit_s=_ASK_S))
        if record is not None:
            quiet_since_s = time.monotonic()
            limit_s = patience_s + sum(
                (record.limits.switch_s, record.limits.settle_s, record.limits.confirm_s)
            )
            for step in record.steps[told:]:
                tell(
                    transient_unit.step_line(
                        step.what, ok=step.ok, why=step.why, took_s=step.took_s
                    )
                )
            told = len(record.steps)
            if record.final or record.state == State.BOOTING:
                return record
            if record.state == State.WAITING:
                run(*plan.ask(system, "confirm", record_id), limit_s=_ASK_S)
        elif time.monotonic() - quiet_since_s > limit_s:
            reason = f"{plan.address} does not answer; unconfirmed, it goes back by itself"
            raise StepFailed(what=f"following {record_id}", reason=reason)
        time.sleep(_LOOK_EVERY_S)


def _look(done: Done) -> Record | None:
    if done.status:
        return None
    try:
        return Record.model_validate_json(done.output)
    except ValidationError:
        return None


def over_ssh(address: str, words: Sequence[str]) -> int:
    """Run a command on a machine, on this terminal; return its exit status."""
    return subprocess.run([*_SSH, address, shlex.join(words)], check=False).returncode
