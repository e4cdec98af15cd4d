"""Plan of a switch: switch now, at the next boot, or refuse; and where to roll back to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from barnabee.deploy.machine import HostState, PinRef, SystemFacts


class SwitchAction(StrEnum):
    """How the target becomes the running system."""

    SWITCH = "switch"
    BOOT = "boot"


@dataclass(frozen=True)
class SwitchRequest:
    """What the operator asked for; the fields are options of `barnabee deploys run`."""

    target: Path
    kind: Literal["switch", "rollback"] = "switch"
    boot: bool = False  # at the next boot instead of now
    reboot: bool = False  # restart when a boot is needed
    with_data: bool = False  # restore the database too when the target cannot read it
    confirm: bool = False  # roll back unless confirmed in time
    without_pin: bool = False


@dataclass(frozen=True)
class Preflight:
    """State of the machine before a switch."""

    host: HostState
    running: Path
    running_facts: SystemFacts | None
    running_healthy: bool
    target_facts: SystemFacts | None
    schema: int | None = None  # of the database
    pins: tuple[PinRef, ...] = ()
    last_kept: Path | None = None
    last_kept_facts: SystemFacts | None = None


@dataclass(frozen=True)
class SwitchPlan:
    """What the switch will do."""

    action: SwitchAction
    fallback: Path  # the system that a rollback returns to
    restore: PinRef | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Reason for which nothing is changed."""

    reason: str


def plan_switch(request: SwitchRequest, preflight: Preflight) -> SwitchPlan | Refusal:
    name, host, target = request.target.name, preflight.host, preflight.target_facts
    if target is None:
        reason = "has no etc/barnabee/deploy.json, so its health cannot be checked"
        return Refusal(f"{name} {reason}; use nixos-rebuild for it")
    driver = explain_driver_mismatch(host, target)
    if driver and host.container:
        return Refusal(f"{driver}; update the host of this container first, its kernel is used")
    boot = request.boot or driver is not None
    restore = choose_restore_pin(request, preflight)
    if isinstance(restore, Refusal):
        return restore
    if restore and boot:
        why = driver or "--boot was given"
        return Refusal(f"the database would have to be restored before a restart ({why})")
    notes = [note for note in (driver, _kernel_note(host, target)) if note]
    action = SwitchAction.BOOT if boot else SwitchAction.SWITCH
    return SwitchPlan(action, choose_fallback(preflight), restore, tuple(notes))


def explain_driver_mismatch(host: HostState, target: SystemFacts) -> str | None:
    """Return why the target's GPU libraries would not fit the loaded module, None when they do.

    NVIDIA libraries work only with a kernel module of the same version ("Driver/library version
    mismatch" otherwise), and the module stays loaded until the next boot.
    """
    if target.driver is None or target.driver == host.driver:
        return None
    if host.driver is None:
        return f"the GPU driver {target.driver} is not loaded, which takes a boot"
    versions = f"GPU driver {host.driver} is loaded, the new libraries are {target.driver}"
    return f"{versions}: the GPU would fail until the next boot"


def _kernel_note(host: HostState, target: SystemFacts) -> str | None:
    if target.kernel in {None, host.kernel} or host.container:
        return None
    return f"kernel {host.kernel} stays until the next boot, then {target.kernel}"


def choose_restore_pin(request: SwitchRequest, preflight: Preflight) -> PinRef | Refusal | None:
    """Return the pin to restore; None when the target can read the database as it is."""
    supported = preflight.target_facts.data_schema if preflight.target_facts else None
    if supported is None or preflight.schema is None or preflight.schema <= supported:
        return None
    pin = find_readable_pin(preflight.pins, supported)
    mismatch = (
        f"the database has schema {preflight.schema}, "
        f"{request.target.name} supports up to {supported}"
    )
    if pin is None:
        return Refusal(f"{mismatch}, and no pin is that old; see `barnabee restore --at`")
    if not request.with_data:
        copy = "newer rows are kept in a copy"
        return Refusal(f"{mismatch}; --with-data restores {pin.id} ({pin.at}), {copy}")
    return pin


def find_readable_pin(pins: tuple[PinRef, ...], supported: int) -> PinRef | None:
    """Return the newest pin with a schema of at most `supported`."""
    return next((pin for pin in reversed(pins) if pin.data_schema <= supported), None)


def choose_fallback(preflight: Preflight) -> Path:
    """Return the running system, or the last healthy one when the running one is unhealthy.

    The last healthy one is taken only if it fits the loaded driver and the database.
    """
    last = preflight.last_kept_facts
    if preflight.running_healthy or preflight.last_kept is None or last is None:
        return preflight.running
    if explain_driver_mismatch(preflight.host, last) is not None:
        return preflight.running
    schema, supported = preflight.schema, last.data_schema
    readable = schema is None or supported is None or supported >= schema
    return preflight.last_kept if readable else preflight.running
