"""One step of a switch: announced on the disk, done, timed, and its outcome written down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog

from barnabee.core.errors import BarnabeeError
from barnabee.deploy.errors import StepFailed
from barnabee.deploy.facts import Facts
from barnabee.deploy.journal import FINAL, Journal, Record, State, Step
from barnabee.deploy.machine import Machine

SLACK_S = 30.0  # a step that is told its limit has this long to notice
_CHECK_EVERY_S = 2.0

T = TypeVar("T")
log = structlog.get_logger()


class Book:
    """A record under way, with the machine it is about. What is changed is on the disk at once.

    `going_back`: a full disk must not keep a machine from its way back, so that goes on unwritten.
    """

    def __init__(
        self, machine: Machine, journal: Journal, record: Record, *, going_back: bool = False
    ) -> None:
        """Begin with a record; nothing is written yet."""
        self.machine = machine
        self.journal = journal
        self.record = record
        self.going_back = going_back
        self.written = False

    def note(self, **changes: Any) -> Record:
        """Change the record and write it; StepFailed when it cannot be written."""
        self.record = self.record.model_copy(update=changes)
        self.written = False
        try:
            self.journal.write(self.record)
            self.written = True
        except OSError as error:
            log.error("deploy_unwritten", id=self.record.id, reason=str(error))  # noqa: TRY400
            if not self.going_back:
                raise StepFailed(what="writing the record", reason=str(error)) from error
        return self.record

    def enter(self, state: State, limit_s: float, **changes: Any) -> Record:
        """Enter a state that lasts `limit_s` at most; then the watch takes over."""
        deadline_s = self.machine.now_s() + limit_s + SLACK_S
        log.info("deploy", id=self.record.id, state=state.value)
        return self.note(state=state, deadline_s=deadline_s, **changes)

    def do(self, what: str, act: Callable[[], T]) -> T:
        """Do one thing; StepFailed when it fails, in any case written down."""
        begun_s = self.machine.now_s()
        try:
            done = act()
        except (BarnabeeError, OSError) as error:
            self.step(what, begun_s, why=str(error))
            if isinstance(error, StepFailed):
                raise
            raise StepFailed(what=what, reason=str(error)) from error
        self.step(what, begun_s)
        return done

    def step(self, what: str, begun_s: float, why: str = "") -> None:
        """Write down that something was done, or why it failed."""
        took_s = round(self.machine.now_s() - begun_s, 3)
        step = Step(what=what, ok=not why, why=why, took_s=took_s)
        log.info("deploy_step", id=self.record.id, step=what, why=why, latency_ms=took_s * 1000)
        self.note(steps=(*self.record.steps, step))

    def end(self, state: State, why: str = "", **changes: Any) -> Record:
        """End it: record, log line, the watch disarmed, old records forgotten.

        An end that is not on the disk is none: the watch comes again and does it once more.
        """
        ended_at = self.machine.clock() if state in FINAL else None
        record = self.note(state=state, why=why, ended_at=ended_at, **changes)
        level = log.info if state in {State.KEPT, State.BOOTING} else log.error
        level("deploy_ended", id=record.id, state=state.value, message=record.sentence())
        if not self.written:
            return record
        self.machine.disarm()
        with suppress(OSError):
            self.journal.prune(record.limits.records_kept)
        return record


def why_unwell(book: Book, facts: Facts | None, limit_s: float) -> str | None:
    """Return why the running system is not well when `limit_s` is over, None once it is.

    A check that has begun by then may end, so that it takes twice as long at most.
    A system without checks of its own is well when no unit failed that had not failed before.
    """
    if facts is None:
        return "it says nothing of itself"
    machine = book.machine
    end_s = machine.now_s() + limit_s
    while True:
        why = _look(book, facts, limit_s)
        left_s = end_s - machine.now_s()
        if why is None or left_s <= 0:
            return why
        machine.pause(min(_CHECK_EVERY_S, left_s))


def _look(book: Book, facts: Facts, limit_s: float) -> str | None:
    machine = book.machine
    if not facts.checks:
        new = sorted(machine.failed_units() - set(book.record.failed_before))
        return f"{', '.join(new)} failed" if new else None
    for unit in facts.checks:
        why = machine.check(unit, limit_s)  # never cut short: at its end it says what is wrong
        if why is not None:
            return f"{unit}: {why}"
    return None


def held(record: Record) -> list[Path]:
    """Return the systems that a record may still need."""
    return [Path(one) for one in (record.previous, record.refuge, record.target)]
