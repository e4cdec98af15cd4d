"""At boot, before boot-complete.target: is what was booted well, and was it meant to stay?

A system that was tried by `boot_once` is kept only here. One that was good before is never taken
away for an outage elsewhere: the gate then fails, and says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from barnabee.deploy import rollback, switch
from barnabee.deploy.errors import DeployBusy, StepFailed
from barnabee.deploy.facts import Facts
from barnabee.deploy.journal import Journal, Record, State
from barnabee.deploy.machine import Live, Machine
from barnabee.deploy.steps import Book, why_unwell

log = structlog.get_logger()


class Passage(StrEnum):
    """What the gate does."""

    ASK = "ask"  # nothing is under way: only whether it is well
    LEAVE = "leave"  # a switch of this boot looks after itself
    TRY = "try"  # what was booted is on trial
    CLOSE = "close"  # what was booted is not what was being switched to


@dataclass(frozen=True)
class Verdict:
    """Whether the boot may count as good, and why not."""

    good: bool
    why: str = ""
    record: Record | None = None


def decide(record: Record | None, *, booted: Path, boot_id: str) -> Passage:
    """Return what to do at boot. Pure."""
    if record is None:
        return Passage.ASK
    if record.boot_id == boot_id:
        return Passage.LEAVE
    on_trial = record.profile_changed and booted == Path(record.target)
    return Passage.TRY if on_trial else Passage.CLOSE


def decide_unwell(live: Live, *, was_well: bool) -> bool:
    """Return whether to restart a machine that is not well and not under way. Pure.

    Only when the boot loader counts this boot as a trial, whose counter ends that by itself, with
    an older system; and not for a system that was well once: then something else is the matter.
    """
    return live.counted and not was_well


def pass_through(machine: Machine, journal: Journal) -> Verdict:
    """Answer for this boot; may restart the machine."""
    try:
        with journal.alone():
            record = journal.in_flight()
            live = machine.live()
            booted = machine.running()
            move = decide(record, booted=booted, boot_id=live.boot_id)
            if record is None or move == Passage.ASK:
                return _ask(machine, journal, live)
            if move == Passage.LEAVE:
                return Verdict(good=True, why="a switch is under way, which asks by itself")
            facts = machine.facts(booted)
            if facts:  # if this process dies, the watch goes on
                machine.arm(record.limits, facts.program)
            book = Book(machine, journal, record, going_back=True)
            book.note(boot_id=live.boot_id, owner=machine.owner())
            return _try(book) if move == Passage.TRY else _close(book)
    except DeployBusy as busy:
        return Verdict(good=True, why=str(busy))


def _ask(machine: Machine, journal: Journal, live: Live) -> Verdict:
    why = _unwell(machine, machine.facts(machine.running()))
    if why is None:
        return Verdict(good=True)
    restart = decide_unwell(live, was_well=journal.last_kept() == str(machine.running()))
    log.error("boot_unwell", message=why, restart=restart)
    if restart:
        machine.reboot()
    return Verdict(good=False, why=why)


def _unwell(machine: Machine, facts: Facts | None) -> str | None:
    if facts is None:
        return "it says nothing of itself"
    end_s = machine.now_s() + facts.limits.settle_s
    while True:
        whys = (machine.check(unit, facts.limits.settle_s) for unit in facts.checks)
        why = next((one for one in whys if one is not None), None)
        if why is None or machine.now_s() >= end_s:
            return why
        machine.pause(1)


def _try(book: Book) -> Verdict:
    """Keep what was booted on trial, or go back."""
    machine, record = book.machine, book.record
    facts = machine.facts(Path(record.target))
    if record.state != State.RETURNING:  # else the way back itself came up with it once more
        book.enter(State.CHECKING, 2 * record.limits.settle_s, why="")
    begun_s = machine.now_s()
    try:
        why = why_unwell(book, facts, record.limits.settle_s)
        book.step("check after the boot", begun_s, why=why or "")
        if why is None:
            return Verdict(good=True, record=switch.keep(book, "well after the boot"))
    except StepFailed as error:
        why = str(error)
    ended = rollback.take(book, why)
    return Verdict(good=False, why=ended.why, record=ended)


def _close(book: Book) -> Verdict:
    """Write down how a switch ended that a restart has ended, and see that all of it is undone."""
    machine, record = book.machine, book.record
    why = {
        State.BOOTING: "the new system did not come up and the boot loader took the one before it",
        State.RETURNING: record.why,
    }.get(record.state, f"the machine restarted while {record.state.value}")
    limits = record.limits
    book.enter(State.RETURNING, limits.data_s + 2 * limits.settle_s, why=why)
    running = machine.running()
    facts = machine.facts(running)
    try:
        rollback.restore_for(book, facts)
        if record.profile_changed and machine.profile() != Path(record.previous_profile):
            before = Path(record.previous_profile)
            book.do("boot what was booted before", lambda: machine.boot_by_default(before))
        rollback.start_house(book, facts)
    except StepFailed as error:
        book.note(refuge=str(running))
        ended = rollback.take(book, f"{why}; {error}")  # once more, and then the watch
        return Verdict(good=bool(ended.well), why=ended.why, record=ended)
    # A restart undoes an activation by itself: what was booted is what was gone back to.
    book.note(refuge=str(running))
    ended = rollback.finish(book, why)
    return Verdict(good=bool(ended.well), why=ended.why, record=ended)
