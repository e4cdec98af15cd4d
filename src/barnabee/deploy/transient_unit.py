"""Has a switch carried out by a transient unit, and tells of it as it goes.

The unit outlives the connection and the terminal that asked for it, and is nobody's that an
activation would stop.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from barnabee.deploy import executor, systemd
from barnabee.deploy.command import must
from barnabee.deploy.errors import StepFailed
from barnabee.deploy.journal import Journal, Record, State
from barnabee.deploy.plan import Order

_START_S = 30.0
_LOOK_EVERY_S = 0.3
_GONE_AFTER = 20  # looks at a unit that is gone and left no record


def new_id() -> str:
    """Return an id that sorts by its moment."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def name_of(record_id: str) -> str:
    """Return the name of the unit that carries out a switch."""
    return f"barnabee-switch-{record_id}.service"


def start(order: Order, record_id: str, program: str) -> None:
    """Start it; returns as soon as it runs."""
    name = name_of(record_id)
    must(
        "systemd-run",
        f"--unit={name}",
        "--collect",
        "--no-ask-password",
        "--quiet",
        "--service-type=exec",
        f"--setenv={executor.UNIT}={name}",
        "--setenv=PATH",
        *(program, "deploys", "run", record_id),
        *arguments(order),
        limit_s=_START_S,
    )


def arguments(order: Order) -> list[str]:
    """Return an order as the options of `barnabee deploys run`."""
    given: dict[str, Any] = asdict(order)
    flags = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is True]
    return [str(order.target), "--kind", order.kind, *flags]


def follow(journal: Journal, record_id: str, tell: Callable[[str], None]) -> Record:
    """Tell each step as it is done; return the record once it has ended or waits for a boot."""
    told = 0
    gone = 0
    state: State | None = None
    while True:
        record = _read(journal, record_id)
        if record is None:
            gone = 0 if _alive(record_id) else gone + 1
            if gone > _GONE_AFTER:
                reason = f"it ended without a record: see journalctl -u {name_of(record_id)}"
                raise StepFailed(what=f"the switch {record_id}", reason=reason)
        else:
            told = _tell_new(record, told, tell)
            if record.state != state and not record.final:
                tell(f"  … {record.state.value}")
            state = record.state
            if record.final or state == State.BOOTING:
                return record
        time.sleep(_LOOK_EVERY_S)


def _alive(record_id: str) -> bool:
    return systemd.show(name_of(record_id), "ActiveState") in {"active", "activating"}


def _read(journal: Journal, record_id: str) -> Record | None:
    return next((one for one in journal.every() if one.id == record_id), None)


def _tell_new(record: Record, told: int, tell: Callable[[str], None]) -> int:
    for step in record.steps[told:]:
        tell(step_line(step.what, ok=step.ok, why=step.why, took_s=step.took_s))
    return len(record.steps)


def step_line(what: str, *, ok: bool, why: str, took_s: float) -> str:
    """Return a step for a person."""
    sign = "●" if ok else "✗"
    return f"{sign} {what} ({took_s:.1f} s){f': {why}' if why else ''}"


def build(flake: str, name: str, limit_s: float) -> Path:
    """Build the system `name` of a flake on this machine and return it."""
    attribute = system_attribute(flake, name)
    out = must(
        "nix", *FLAKES, "build", "--no-link", "--print-out-paths", attribute, limit_s=limit_s
    )
    return Path(out.strip().splitlines()[-1])


FLAKES = ("--extra-experimental-features", "nix-command flakes")


def system_attribute(flake: str, name: str) -> str:
    """Return `flake#attribute` of a host's system; `flake` may name the host itself, after a #."""
    where, _, given = flake.partition("#")
    return f"{where}#nixosConfigurations.{given or name}.config.system.build.toplevel"
