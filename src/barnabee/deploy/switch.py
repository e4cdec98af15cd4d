"""One switch from its beginning to its end.

    look -> plan -> pin -> activate -> check -> (confirmation) -> keep
                                                  anything failing -> the way back

Every act is announced in the record before it is done, so that `watch` or `gate` can go on from
wherever this process dies. The boot loader hears of the target last.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from barnabee.deploy import plan as plans
from barnabee.deploy import rollback
from barnabee.deploy.errors import DeployBusy, DeployRefused, StepFailed
from barnabee.deploy.facts import Data, Facts
from barnabee.deploy.journal import Journal, Record, State
from barnabee.deploy.machine import Machine
from barnabee.deploy.plan import Action, Order, Plan, Refusal, Situation
from barnabee.deploy.steps import Book, held, why_unwell

_LOOK_S = (
    20.0  # is what runs now well? Not worth a long wait: only where to go back to depends on it
)
_CONFIRM_EVERY_S = 0.5


@dataclass(frozen=True)
class Prepared:
    """A plan with what it was made from."""

    now: Situation
    plan: Plan | Refusal


def prepare(machine: Machine, journal: Journal, order: Order, *, ask: bool = True) -> Prepared:
    """Look and plan; changes nothing. Without `ask` what runs is taken to be well."""
    if not machine.is_system(order.target):
        raise DeployRefused(reason=f"{order.target} has no bin/switch-to-configuration")
    running = machine.running()
    known, wanted = machine.facts(running), machine.facts(order.target)
    data = _data(known, wanted)
    last = Path(journal.last_kept() or "/nonexistent")
    now = Situation(
        live=machine.live(),
        running=running,
        running_facts=known,
        running_well=_well(machine, known) if ask else True,
        wanted=wanted,
        schema=machine.schema(data),
        pins=tuple(machine.pins(data)),
        last_kept=last if machine.is_system(last) else None,
        last_kept_facts=machine.facts(last),
    )
    return Prepared(now, plans.decide(order, now))


def _data(known: Facts | None, wanted: Facts | None) -> Data | None:
    return (known.data if known else None) or (wanted.data if wanted else None)


def _well(machine: Machine, facts: Facts | None) -> bool:
    if facts is None:
        return False
    return all(machine.check(unit, _LOOK_S) is None for unit in facts.checks)


def run(machine: Machine, journal: Journal, order: Order, record_id: str) -> Record:
    """Switch, or refuse, or go back; the record says which. DeployBusy while another goes on."""
    with journal.alone():
        _no_other(machine, journal)
        prepared = prepare(machine, journal, order)
        book = Book(machine, journal, _begin(machine, order, prepared, record_id))
        if isinstance(prepared.plan, Refusal):
            return book.end(State.REFUSED, prepared.plan.reason, well=prepared.now.running_well)
        try:
            _ready(book, order, prepared.now)
        except (StepFailed, OSError) as error:
            return book.end(State.REFUSED, str(error), well=prepared.now.running_well)
        try:
            if prepared.plan.action == Action.BOOT:
                return _stage(book, order, prepared.plan)
            return _switch(book, prepared)
        except StepFailed as error:
            return rollback.take(book, str(error))


def _no_other(machine: Machine, journal: Journal) -> None:
    """Give up a system that only waits for a boot; DeployBusy for any other switch under way."""
    before = journal.in_flight()
    if before is not None and before.state == State.BOOTING:
        rollback.take(Book(machine, journal, before), "another switch was asked for instead")
        before = journal.in_flight()
    if before is not None:
        raise DeployBusy(id=before.id, state=before.state.value)


def _begin(machine: Machine, order: Order, prepared: Prepared, record_id: str) -> Record:
    now, plan = prepared.now, prepared.plan
    facts = now.wanted or now.running_facts
    if facts is None:  # neither the old nor the new one could be checked, nor has limits
        raise DeployRefused(reason=plan.reason if isinstance(plan, Refusal) else "no limits")
    return Record(
        id=record_id,
        kind=order.kind,
        state=State.PLANNED,
        target=str(order.target),
        previous=str(now.running),
        previous_profile=str(machine.profile()),
        refuge=str(plan.refuge if isinstance(plan, Plan) else now.running),
        boot_id=now.live.boot_id,
        owner=machine.owner(),
        started_at=machine.clock(),
        notes=plan.notes if isinstance(plan, Plan) else (),
        failed_before=tuple(sorted(machine.failed_units())),
        wants_confirmation=order.confirm,
        limits=facts.limits,
    )


def _ready(book: Book, order: Order, now: Situation) -> None:
    """Do what must be done before anything changes; StepFailed refuses the switch."""
    record, machine = book.record, book.machine
    facts = now.running_facts or now.wanted
    if facts:  # before there is a record: one that nobody watches would block the next switch
        machine.arm(record.limits, facts.program)
    book.enter(State.PLANNED, record.limits.data_s)
    book.do("hold", lambda: machine.hold(held(record)))
    data = now.running_facts.data if now.running_facts else None
    if data is None or order.without_pin:
        return
    reason = f"{record.kind} {record.id}"
    pin = book.do("pin the database", lambda: machine.pin(data, reason, record.limits.data_s))
    untold = () if pin else ("the database was not pinned: there is none, or nothing that pins it",)
    book.note(pin=pin, notes=(*book.record.notes, *untold))


def _stage(book: Book, order: Order, plan: Plan) -> Record:
    machine, record = book.machine, book.record
    target, otherwise = Path(record.target), Path(record.previous_profile)
    book.enter(State.STAGING, record.limits.switch_s, profile_changed=True, staged=True)
    told = book.do("tell the boot loader", lambda: machine.boot_once(target, otherwise))
    notes = (*record.notes, told) if told else record.notes
    ended = book.end(State.BOOTING, "; ".join(plan.notes) or "as it was asked for", notes=notes)
    if order.reboot:
        machine.reboot()
    return ended


def _switch(book: Book, prepared: Prepared) -> Record:
    machine, record, now = book.machine, book.record, prepared.now
    target, limits = Path(record.target), record.limits
    data = _data(now.running_facts, now.wanted)
    restore = prepared.plan.restore if isinstance(prepared.plan, Plan) else None
    limit_s = limits.switch_s + (limits.data_s if restore else 0)
    book.enter(State.ACTIVATING, limit_s, activated=True)
    if restore and data:
        book.note(data_moved=True)
        rollback.put_back(book, data, restore)
    note = book.do("activate", lambda: machine.activate(target, limits.switch_s))
    if note:
        book.note(notes=(*book.record.notes, note))
    if restore and data:
        book.do("start the house", lambda: machine.start_house(data))
    book.enter(State.CHECKING, 2 * limits.settle_s)
    must_be_well(book, now.wanted)
    if record.wants_confirmation:
        _await_confirmation(book)
    return keep(book, "")


def must_be_well(book: Book, facts: Facts | None) -> None:
    """Return once the running system is well; StepFailed when it is not within its limit."""
    begun_s = book.machine.now_s()
    settle_s = book.record.limits.settle_s
    why = why_unwell(book, facts, settle_s)
    book.step("check", begun_s, why=why or "")
    if why is not None:
        raise StepFailed(what=f"the check within {settle_s} s", reason=why)


def _await_confirmation(book: Book) -> None:
    machine, record = book.machine, book.record
    begun_s, limit_s = machine.now_s(), record.limits.confirm_s
    book.enter(State.WAITING, limit_s)
    while not book.journal.confirmed(record.id):
        if machine.now_s() - begun_s > limit_s:
            reason = f"nobody confirmed it within {limit_s} s: the way to this machine may be cut"
            book.step("confirmation", begun_s, why=reason)
            raise StepFailed(what="the confirmation", reason=reason)
        machine.pause(_CONFIRM_EVERY_S)
    book.step("confirmation", begun_s)


def keep(book: Book, why: str) -> Record:
    """Make the target, which is well, what the machine boots."""
    machine, record = book.machine, book.record
    book.enter(State.KEEPING, record.limits.switch_s, profile_changed=True)
    book.do("keep", lambda: machine.boot_by_default(Path(record.target)))
    with suppress(StepFailed, OSError):  # it is the profile now, which holds it as well
        machine.hold([Path(record.target)])
    return book.end(State.KEPT, why, well=True)
