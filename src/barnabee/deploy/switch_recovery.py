"""Finishes a switch that nobody finishes: its process died, hangs, or never got its confirmation.

Runs again and again, as a transient timer of the programs that were good before the switch.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from barnabee.deploy import rollback, switch
from barnabee.deploy.errors import DeployBusy, StepFailed
from barnabee.deploy.journal import Journal, Record, State
from barnabee.deploy.machine import Machine
from barnabee.deploy.steps import Book, why_unwell


class Move(StrEnum):
    """What the watch does."""

    NOTHING = "nothing"
    WAIT = "wait"
    END_OWNER = "end the owner"
    FINISH = "finish keeping"
    TAKE_BACK = "take back"


def decide(record: Record, *, boot_id: str, alive: bool, now_s: float) -> Move:
    """Return what to do about a switch under way. Pure.

    After a restart it is the gate's business, and so is a system that waits for one.
    """
    if record.state == State.BOOTING or record.boot_id != boot_id:
        return Move.NOTHING
    if alive:
        return Move.WAIT if now_s <= record.deadline_s else Move.END_OWNER
    return Move.FINISH if record.state == State.KEEPING else Move.TAKE_BACK


def tick(machine: Machine, journal: Journal) -> Record | None:
    """Look once; return the record when something was done about it."""
    record = journal.in_flight()
    if record is None:
        with suppress(DeployBusy), journal.alone():  # else one is about to begin
            machine.disarm()
        return None
    move = _move(machine, record)
    if move in {Move.NOTHING, Move.WAIT}:
        return None
    why = f"the switch stopped by itself while {record.state.value}"
    if move == Move.END_OWNER:
        why = f"the switch took too long while {record.state.value}"
        machine.end_owner(record.owner)
        move = Move.FINISH if record.state == State.KEEPING else Move.TAKE_BACK
    try:
        with journal.alone():
            record = journal.in_flight()  # it may have ended meanwhile
            return None if record is None else _act(machine, journal, record, move, why)
    except DeployBusy:
        return None


def _move(machine: Machine, record: Record) -> Move:
    alive = machine.owner_alive(record.owner)
    boot_id = machine.live().boot_id
    return decide(record, boot_id=boot_id, alive=alive, now_s=machine.now_s())


def _act(machine: Machine, journal: Journal, record: Record, move: Move, why: str) -> Record:
    book = Book(machine, journal, record, going_back=True)
    book.note(owner=machine.owner())  # this process has it now
    # A restart may have come between, and the gate have died before it said so.
    if move == Move.TAKE_BACK or machine.running() != Path(record.target):
        return rollback.take(book, why)
    try:
        unwell = why_unwell(book, machine.facts(Path(record.target)), record.limits.settle_s)
        if unwell is None:
            return switch.keep(book, f"{why}, after it had been found well")
        return rollback.take(book, f"{why}, and then {unwell}")
    except StepFailed as error:
        return rollback.take(book, f"{why}; {error}")
