"""The way back, from wherever a switch broke off; may itself break off and be taken again.

First the database, when the old programs could not read it; then what is booted; then the services;
then the question whether it is well.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from barnabee.deploy.errors import StepFailed
from barnabee.deploy.facts import Data, Facts
from barnabee.deploy.journal import PinRef, Record, State
from barnabee.deploy.plan import suitable
from barnabee.deploy.steps import Book, why_unwell

TRIES = 5


def take(book: Book, why: str) -> Record:
    """Go back to the refuge of the record; RETURNED, or RETURNING when it is to be tried again."""
    machine, record = book.machine, book.record
    book.going_back = True
    why = (record.why if record.state == State.RETURNING else "") or why  # the first one counts
    if record.returns >= TRIES:
        last = next((step.why for step in reversed(record.steps) if not step.ok), "unknown")
        return book.end(State.STUCK, f"{why}; {TRIES} ways back failed, the last: {last}")
    limits = record.limits
    limit_s = limits.switch_s * 2 + limits.data_s + 2 * limits.settle_s
    book.enter(State.RETURNING, limit_s, why=why, returns=record.returns + 1)
    try:
        if record.staged and machine.running() == Path(record.target):
            _boot_back(book)
            return book.record  # the gate of the next boot ends it
        _undo(book)
    except StepFailed as error:
        if error.fields.get("hopeless"):
            return book.end(State.STUCK, f"{why}; {error}")
        return book.record  # the watch tries again
    return finish(book, why)


def finish(book: Book, why: str) -> Record:
    """Ask whether the refuge is well, and end."""
    machine, record = book.machine, book.record
    facts = machine.facts(Path(record.refuge))
    begun_s = machine.now_s()
    unwell = why_unwell(book, facts, record.limits.settle_s) if facts else None
    book.step("check what was gone back to", begun_s, why=unwell or "")
    with suppress(StepFailed, OSError):  # it runs, which holds it as well
        machine.hold([Path(record.refuge), Path(record.previous)])
    if unwell:
        why = f"{why}; and now {unwell}"
    return book.end(State.RETURNED, why, well=unwell is None if facts else None)


def _boot_back(book: Book) -> None:
    """Restart into what was booted before: the target came with a boot, maybe with its kernel."""
    machine, before = book.machine, Path(book.record.previous_profile)
    try:
        restore_for(book, machine.facts(before))
        book.do("boot what was booted before", lambda: machine.boot_by_default(before))
    finally:
        machine.reboot()  # when the loader tries a system once only, that alone leads back


def _undo(book: Book) -> None:
    machine, record = book.machine, book.record
    refuge, limits = Path(record.refuge), record.limits
    facts = machine.facts(refuge)
    restore_for(book, facts)
    if record.profile_changed:
        before = Path(record.previous_profile)
        book.do("boot what was booted before", lambda: machine.boot_by_default(before))
    if record.activated or machine.running() not in {refuge, Path(record.previous)}:
        book.note(activated=True)
        book.do("activate", lambda: machine.activate(refuge, limits.switch_s))
    start_house(book, facts)


def start_house(book: Book, facts: Facts | None) -> None:
    """Start what writes the database: a restore stops it, and so may an activation that died."""
    data = facts.data if facts else None
    if data:
        book.do("start the house", lambda: book.machine.start_house(data))


def restore_for(book: Book, facts: Facts | None) -> None:
    """Put the database to where the programs of `facts` left it, or as near as they can read it.

    Only if it is newer than they know, or this switch itself had put it back. StepFailed.
    """
    machine, record = book.machine, book.record
    target = machine.facts(Path(record.target))
    data = (facts.data if facts else None) or (target.data if target else None)
    if data is None:
        return
    schema, known = machine.schema(data), facts.data_schema if facts else None
    unreadable = known is not None and schema is not None and schema > known
    moved = record.data_moved and record.pin is not None and record.restored != record.pin.id
    if not (unreadable or moved or record.restoring):
        return
    # A migration pins as well, later than the switch: less is lost by its pin.
    newest = suitable(tuple(machine.pins(data)), known) if known is not None else None
    pin = record.pin if moved or newest is None else newest
    if pin and known is not None and pin.data_schema > known:
        pin = None
    if pin is None:
        reason = f"the database has schema {schema}, {Path(record.refuge).name} knows up to {known}"
        raise StepFailed(what="the way back", reason=f"{reason}, and no pin is so old", hopeless=1)
    put_back(book, data, pin)


def put_back(book: Book, data: Data, pin: PinRef) -> None:
    """Put the database back to `pin`; a record that says `restoring` has it done once more."""
    book.note(restoring=pin.id)
    limit_s = book.record.limits.data_s
    book.do(f"restore {pin.id}", lambda: book.machine.restore(data, pin, limit_s))
    book.note(restoring="", restored=pin.id)
