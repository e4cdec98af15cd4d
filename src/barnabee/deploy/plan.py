"""What to do with a system that somebody wants, and where to go back to. Pure: asks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from barnabee.deploy.facts import Facts
from barnabee.deploy.journal import PinRef
from barnabee.deploy.machine import Live


class Action(StrEnum):
    """How the target becomes what runs."""

    SWITCH = "switch"
    BOOT = "boot"


@dataclass(frozen=True)
class Order:
    """What somebody wants."""

    target: Path
    kind: Literal["switch", "rollback"] = "switch"
    boot: bool = False  # not now, at the next boot
    reboot: bool = False  # restart by itself when it takes a boot
    with_data: bool = False  # put the database back as well, when it must be
    confirm: bool = False  # keep it only when told so
    without_pin: bool = False


@dataclass(frozen=True)
class Situation:
    """What is true of the machine before anything is done."""

    live: Live
    running: Path
    running_facts: Facts | None
    running_well: bool
    wanted: Facts | None
    schema: int | None = None  # of the database
    pins: tuple[PinRef, ...] = ()
    last_kept: Path | None = None
    last_kept_facts: Facts | None = None


@dataclass(frozen=True)
class Plan:
    """What is done."""

    action: Action
    refuge: Path
    restore: PinRef | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why nothing is done."""

    reason: str


def decide(order: Order, now: Situation) -> Plan | Refusal:
    """Return what to do."""
    name = order.target.name
    if now.wanted is None:
        reason = "says nothing of itself (no etc/barnabee/deploy.json), so nobody could tell"
        return Refusal(f"{name} {reason} whether it is well; use nixos-rebuild for it")
    driver = driver_change(now.live, now.wanted)
    if driver and now.live.container:
        return Refusal(f"{driver}; renew the machine beneath first, its kernel is used here")
    boot = order.boot or driver is not None
    restore = data_to_restore(order, now)
    if isinstance(restore, Refusal):
        return restore
    if restore and boot:
        why = driver or "it is for the next boot"
        return Refusal(f"the database would have to be put back before a restart ({why})")
    notes = [note for note in (driver, _kernel_note(now.live, now.wanted)) if note]
    action = Action.BOOT if boot else Action.SWITCH
    return Plan(action, refuge(now), restore, tuple(notes))


def driver_change(live: Live, wanted: Facts) -> str | None:
    """Return why libraries and kernel module of the card would not fit, None when they do.

    A library talks to the module of its own version and to no other; the module stays until the
    next boot (NVML then says "Driver/library version mismatch").
    """
    if wanted.driver is None or wanted.driver == live.driver:
        return None
    if live.driver is None:
        return f"the card's driver {wanted.driver} is not loaded, which takes a boot"
    told = f"the kernel has the card's driver {live.driver}, the new libraries are {wanted.driver}"
    return f"{told}: the card would fail until the next boot"


def _kernel_note(live: Live, wanted: Facts) -> str | None:
    if wanted.kernel in {None, live.kernel} or live.container:
        return None
    return f"kernel {live.kernel} runs on until the next boot, then {wanted.kernel}"


def data_to_restore(order: Order, now: Situation) -> PinRef | Refusal | None:
    """Return the pin to put the database back to, None when the target can read it as it is."""
    known = now.wanted.data_schema if now.wanted else None
    if known is None or now.schema is None or now.schema <= known:
        return None
    found = suitable(now.pins, known)
    told = f"the database has schema {now.schema}, {order.target.name} knows up to {known}"
    if found is None:
        return Refusal(f"{told}, and no pin is that old; see `barnabee restore --at`")
    if not order.with_data:
        kept = "what was written since is kept aside"
        return Refusal(f"{told}; --with-data puts it back to {found.id} ({found.at}), {kept}")
    return found


def suitable(pins: tuple[PinRef, ...], known: int) -> PinRef | None:
    """Return the newest pin that a program which knows up to schema `known` can read."""
    return next((pin for pin in reversed(pins) if pin.data_schema <= known), None)


def refuge(now: Situation) -> Path:
    """Return where to go back to: what runs, unless it is not well and something better is known.

    Better is what was last found well, when it fits the loaded driver and the database.
    """
    last = now.last_kept_facts
    if now.running_well or now.last_kept is None or last is None:
        return now.running
    fits = driver_change(now.live, last) is None
    reads = None in {last.data_schema, now.schema} or (last.data_schema or 0) >= (now.schema or 0)
    return now.last_kept if fits and reads else now.running
