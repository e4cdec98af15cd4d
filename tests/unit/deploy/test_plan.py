"""What is done with a system, and where to go back to: tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from barnabee.deploy import gate, generations, switch_recovery
from barnabee.deploy.errors import DeployRefused
from barnabee.deploy.facts import Facts
from barnabee.deploy.gate import Passage
from barnabee.deploy.journal import PinRef, Record, State
from barnabee.deploy.machine import Live
from barnabee.deploy.plan import Action, Order, Plan, Refusal, Situation, decide
from barnabee.deploy.switch_recovery import Move
from support.deploy_memory import DATA, LIMITS, record

OLD, NEW, LAST = Path("/nix/store/old"), Path("/nix/store/new"), Path("/nix/store/last")
LIVE = Live("boot", "6.18.1", "570.1")


def facts(**changed: object) -> Facts:
    told = {
        "kernel": "6.18.1",
        "driver": "570.1",
        "schema": 2,
        "checks": ("health",),
        "data": DATA,
        "limits": LIMITS,
        "program": "barnabee",
    }
    return Facts.model_validate(told | changed)


def situation(**changed: object) -> Situation:
    now = Situation(LIVE, OLD, facts(), running_well=True, wanted=facts(), schema=2)
    return replace(now, **changed)  # type: ignore[arg-type]


PINS = tuple(
    PinRef(id=f"pin-{n}", txid=n, data_schema=schema) for n, schema in enumerate([1, 1, 2])
)
PLANS: dict[str, tuple[Order, Situation, Action | str]] = {
    "the same driver": (Order(NEW), situation(), Action.SWITCH),
    "asked for the next boot": (Order(NEW, boot=True), situation(), Action.BOOT),
    "another driver": (Order(NEW), situation(wanted=facts(driver="580.2")), Action.BOOT),
    "the first driver": (Order(NEW), situation(live=replace(LIVE, driver=None)), Action.BOOT),
    "a driver less": (Order(NEW), situation(wanted=facts(driver=None)), Action.SWITCH),
    "another driver in a container": (
        Order(NEW),
        situation(live=replace(LIVE, container=True), wanted=facts(driver="580.2")),
        "renew the machine beneath first",
    ),
    "another kernel": (Order(NEW), situation(wanted=facts(kernel="6.19.0")), Action.SWITCH),
    "one that says nothing": (Order(NEW), situation(wanted=None), "says nothing of itself"),
    "older than the database": (
        Order(NEW),
        situation(wanted=facts(schema=1), pins=PINS),
        "the database has schema 2, new knows up to 1; --with-data puts it back to pin-1",
    ),
    "older than the database, and no pin": (
        Order(NEW, with_data=True),
        situation(wanted=facts(schema=1), pins=PINS[2:]),
        "no pin is that old",
    ),
    "older, with its data": (
        Order(NEW, with_data=True),
        situation(wanted=facts(schema=1), pins=PINS),
        Action.SWITCH,
    ),
    "older, with its data and another driver": (
        Order(NEW, with_data=True),
        situation(wanted=facts(schema=1, driver="580.2"), pins=PINS),
        "before a restart",
    ),
}


@pytest.mark.parametrize(("order", "now", "expected"), PLANS.values(), ids=PLANS.keys())
def test_a_plan(order: Order, now: Situation, expected: Action | str) -> None:
    found = decide(order, now)
    if isinstance(expected, Action):
        assert isinstance(found, Plan)
        assert found.action == expected
        wants_data = order.with_data and now.wanted is not None and now.wanted.data_schema == 1
        assert (found.restore is not None) == wants_data
        assert found.restore in {None, PINS[1]}  # the newest that it can read
    else:
        assert isinstance(found, Refusal)
        assert expected in found.reason


def test_a_plan_says_what_only_a_boot_brings() -> None:
    found = decide(Order(NEW), situation(wanted=facts(kernel="6.19.0", driver="580.2")))
    assert isinstance(found, Plan)
    driver, kernel = found.notes
    assert "driver 570.1, the new libraries are 580.2" in driver
    assert kernel == "kernel 6.18.1 runs on until the next boot, then 6.19.0"


REFUGES: dict[str, tuple[dict[str, object], Path]] = {
    "what runs and is well": ({"last_kept": LAST, "last_kept_facts": facts()}, OLD),
    "what runs, for want of better": ({"running_well": False}, OLD),
    "what was last found well": (
        {"running_well": False, "last_kept": LAST, "last_kept_facts": facts()},
        LAST,
    ),
    "not what needs another driver": (
        {"running_well": False, "last_kept": LAST, "last_kept_facts": facts(driver="5")},
        OLD,
    ),
    "not what cannot read the database": (
        {"running_well": False, "last_kept": LAST, "last_kept_facts": facts(schema=1)},
        OLD,
    ),
}


@pytest.mark.parametrize(("changed", "expected"), REFUGES.values(), ids=REFUGES.keys())
def test_where_to_go_back_to(changed: dict[str, object], expected: Path) -> None:
    found = decide(Order(NEW), situation(**changed))
    assert isinstance(found, Plan)
    assert found.refuge == expected


@pytest.mark.parametrize(
    ("state", "boot_id", "alive", "now_s", "expected"),
    [
        (State.ACTIVATING, "boot", True, 99.0, Move.WAIT),
        (State.ACTIVATING, "boot", True, 101.0, Move.END_OWNER),
        (State.ACTIVATING, "boot", False, 1.0, Move.TAKE_BACK),
        (State.PLANNED, "boot", False, 1.0, Move.TAKE_BACK),
        (State.WAITING, "boot", False, 1.0, Move.TAKE_BACK),
        (State.RETURNING, "boot", False, 1.0, Move.TAKE_BACK),
        (State.KEEPING, "boot", False, 1.0, Move.FINISH),
        (State.BOOTING, "boot", False, 999.0, Move.NOTHING),
        (State.CHECKING, "another", False, 999.0, Move.NOTHING),
    ],
)
def test_what_the_watch_does(
    state: State, boot_id: str, alive: bool, now_s: float, expected: Move
) -> None:
    assert (
        switch_recovery.decide(record(state), boot_id=boot_id, alive=alive, now_s=now_s) == expected
    )


@pytest.mark.parametrize(
    ("found", "booted", "boot_id", "expected"),
    [
        (None, OLD, "later", Passage.ASK),
        (record(State.CHECKING), OLD, "boot", Passage.LEAVE),
        (record(State.CHECKING), OLD, "later", Passage.CLOSE),
        (record(State.BOOTING, staged=True, profile_changed=True), NEW, "later", Passage.TRY),
        (record(State.BOOTING, staged=True, profile_changed=True), OLD, "later", Passage.CLOSE),
        (record(State.KEEPING, profile_changed=True), NEW, "later", Passage.TRY),
        (record(State.ACTIVATING, activated=True), NEW, "later", Passage.CLOSE),
    ],
)
def test_what_the_gate_does(
    found: Record | None, booted: Path, boot_id: str, expected: Passage
) -> None:
    assert gate.decide(found, booted=booted, boot_id=boot_id) == expected


@pytest.mark.parametrize(
    ("counted", "was_well", "restarts"),
    [(False, False, False), (False, True, False), (True, False, True), (True, True, False)],
)
def test_only_a_boot_on_trial_is_restarted(counted: bool, was_well: bool, restarts: bool) -> None:
    live = replace(LIVE, counted=counted)
    assert gate.decide_unwell(live, was_well=was_well) == restarts


def test_a_record_ends_in_a_sentence() -> None:
    told = {
        record(State.KEPT): "new is kept",
        record(State.REFUSED, why="no"): "refused, nothing was changed: no",
        record(State.RETURNED, why="no", well=True): "nothing was changed: no",
        record(State.RETURNED, why="no", well=True, activated=True): (
            "went back to old and it is well: no"
        ),
        record(State.RETURNED, why="no", well=False, activated=True): (
            "went back to old, which is not well either: no"
        ),
        record(State.STUCK, why="no"): "could not go back to old, a person is needed: no",
    }
    for found, expected in told.items():
        assert found.sentence() == expected


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    for number in (3, 4, 12):
        (tmp_path / f"gen-{number}").mkdir()
        (tmp_path / f"system-{number}-link").symlink_to(tmp_path / f"gen-{number}")
    (tmp_path / "system-5-link").symlink_to(tmp_path / "collected")
    (tmp_path / "system").symlink_to("system-12-link")
    return tmp_path / "system"


def test_generations_are_in_order_and_those_that_are_gone_are_not_there(profile: Path) -> None:
    assert list(generations.every(profile)) == [3, 4, 12]


def test_going_back_takes_the_one_before_or_what_was_last_well(profile: Path) -> None:
    at = profile.parent
    assert generations.chosen(profile, at / "gen-12", None, None) == at / "gen-4"
    assert generations.chosen(profile, at / "gen-12", None, at / "gen-3") == at / "gen-3"
    assert generations.chosen(profile, at / "gen-12", None, at / "gen-12") == at / "gen-4"
    assert generations.chosen(profile, at / "unkept", None, None) == at / "gen-12"
    assert generations.chosen(profile, at / "gen-12", 3, None) == at / "gen-3"
    with pytest.raises(DeployRefused, match="there is no generation 7; there are 3, 4, 12"):
        generations.chosen(profile, at / "gen-12", 7, None)
