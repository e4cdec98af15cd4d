"""Decisions of switches: plan, fallback, recovery, gate, generations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from barnabee.deploy import bootloader, gate
from barnabee.deploy.command import DeployRefused
from barnabee.deploy.gate import GateAction, RecoveryAction
from barnabee.deploy.journal import SwitchRecord, SwitchState
from barnabee.deploy.machine import HostState, PinRef, SystemFacts
from barnabee.deploy.plan import (
    Preflight,
    Refusal,
    SwitchAction,
    SwitchPlan,
    SwitchRequest,
    plan_switch,
)
from support.deploy_memory import DATA, LIMITS, make_record

OLD, NEW, LAST = Path("/nix/store/old"), Path("/nix/store/new"), Path("/nix/store/last")
HOST = HostState("boot", "6.18.1", "570.1")


def make_facts(**changed: object) -> SystemFacts:
    fields = {
        "kernel": "6.18.1",
        "driver": "570.1",
        "schema": 2,
        "checks": ("health",),
        "data": DATA,
        "limits": LIMITS,
        "program": "barnabee",
    }
    return SystemFacts.model_validate(fields | changed)


def make_preflight(**changed: object) -> Preflight:
    preflight = Preflight(HOST, OLD, make_facts(), True, make_facts(), schema=2)
    return replace(preflight, **changed)  # type: ignore[arg-type]


PINS = tuple(
    PinRef(id=f"pin-{n}", txid=n, data_schema=schema) for n, schema in enumerate([1, 1, 2])
)
PLANS: dict[str, tuple[SwitchRequest, Preflight, SwitchAction | str]] = {
    "the same driver": (SwitchRequest(NEW), make_preflight(), SwitchAction.SWITCH),
    "requested for the next boot": (
        SwitchRequest(NEW, boot=True),
        make_preflight(),
        SwitchAction.BOOT,
    ),
    "another driver": (
        SwitchRequest(NEW),
        make_preflight(target_facts=make_facts(driver="580.2")),
        SwitchAction.BOOT,
    ),
    "a first driver": (
        SwitchRequest(NEW),
        make_preflight(host=replace(HOST, driver=None)),
        SwitchAction.BOOT,
    ),
    "no driver": (
        SwitchRequest(NEW),
        make_preflight(target_facts=make_facts(driver=None)),
        SwitchAction.SWITCH,
    ),
    "another driver in a container": (
        SwitchRequest(NEW),
        make_preflight(host=replace(HOST, container=True), target_facts=make_facts(driver="580.2")),
        "update the host of this container first",
    ),
    "another kernel": (
        SwitchRequest(NEW),
        make_preflight(target_facts=make_facts(kernel="6.19.0")),
        SwitchAction.SWITCH,
    ),
    "no facts": (
        SwitchRequest(NEW),
        make_preflight(target_facts=None),
        "has no etc/barnabee/deploy.json",
    ),
    "older than the database": (
        SwitchRequest(NEW),
        make_preflight(target_facts=make_facts(schema=1), pins=PINS),
        "the database has schema 2, new supports up to 1; --with-data restores pin-1",
    ),
    "older than the database, and no pin": (
        SwitchRequest(NEW, with_data=True),
        make_preflight(target_facts=make_facts(schema=1), pins=PINS[2:]),
        "no pin is that old",
    ),
    "older, with its data": (
        SwitchRequest(NEW, with_data=True),
        make_preflight(target_facts=make_facts(schema=1), pins=PINS),
        SwitchAction.SWITCH,
    ),
    "older, with its data and another driver": (
        SwitchRequest(NEW, with_data=True),
        make_preflight(target_facts=make_facts(schema=1, driver="580.2"), pins=PINS),
        "before a restart",
    ),
}


@pytest.mark.parametrize(
    ("switch_request", "preflight", "expected"), PLANS.values(), ids=PLANS.keys()
)
def test_a_plan(
    switch_request: SwitchRequest, preflight: Preflight, expected: SwitchAction | str
) -> None:
    found = plan_switch(switch_request, preflight)
    target = preflight.target_facts
    if isinstance(expected, SwitchAction):
        assert isinstance(found, SwitchPlan)
        assert found.action == expected
        wants_data = switch_request.with_data and target is not None and target.data_schema == 1
        assert (found.restore is not None) == wants_data
        assert found.restore in {None, PINS[1]}  # the newest that it can read
    else:
        assert isinstance(found, Refusal)
        assert expected in found.reason


def test_a_plan_notes_what_takes_effect_after_a_boot() -> None:
    found = plan_switch(
        SwitchRequest(NEW), make_preflight(target_facts=make_facts(kernel="6.19.0", driver="580.2"))
    )
    assert isinstance(found, SwitchPlan)
    driver, kernel = found.notes
    assert "driver 570.1 is loaded, the new libraries are 580.2" in driver
    assert kernel == "kernel 6.18.1 stays until the next boot, then 6.19.0"


FALLBACKS: dict[str, tuple[dict[str, object], Path]] = {
    "the healthy running system": ({"last_kept": LAST, "last_kept_facts": make_facts()}, OLD),
    "the unhealthy running system without an alternative": ({"running_healthy": False}, OLD),
    "the last healthy system": (
        {"running_healthy": False, "last_kept": LAST, "last_kept_facts": make_facts()},
        LAST,
    ),
    "not a system with another driver": (
        {"running_healthy": False, "last_kept": LAST, "last_kept_facts": make_facts(driver="5")},
        OLD,
    ),
    "not a system that cannot read the database": (
        {"running_healthy": False, "last_kept": LAST, "last_kept_facts": make_facts(schema=1)},
        OLD,
    ),
}


@pytest.mark.parametrize(("changed", "expected"), FALLBACKS.values(), ids=FALLBACKS.keys())
def test_the_fallback_of_a_switch(changed: dict[str, object], expected: Path) -> None:
    found = plan_switch(SwitchRequest(NEW), make_preflight(**changed))
    assert isinstance(found, SwitchPlan)
    assert found.fallback == expected


@pytest.mark.parametrize(
    ("state", "boot_id", "alive", "now_s", "expected"),
    [
        (SwitchState.ACTIVATING, "boot", True, 99.0, RecoveryAction.WAIT),
        (SwitchState.ACTIVATING, "boot", True, 101.0, RecoveryAction.KILL_EXECUTOR),
        (SwitchState.ACTIVATING, "boot", False, 1.0, RecoveryAction.ROLL_BACK),
        (SwitchState.PLANNED, "boot", False, 1.0, RecoveryAction.ROLL_BACK),
        (SwitchState.WAITING, "boot", False, 1.0, RecoveryAction.ROLL_BACK),
        (SwitchState.RETURNING, "boot", False, 1.0, RecoveryAction.ROLL_BACK),
        (SwitchState.KEEPING, "boot", False, 1.0, RecoveryAction.FINISH),
        (SwitchState.BOOTING, "boot", False, 999.0, RecoveryAction.NOTHING),
        (SwitchState.CHECKING, "another", False, 999.0, RecoveryAction.NOTHING),
    ],
)
def test_the_recovery_action(
    state: SwitchState, boot_id: str, alive: bool, now_s: float, expected: RecoveryAction
) -> None:
    assert (
        gate.decide_recovery(make_record(state), boot_id=boot_id, alive=alive, now_s=now_s)
        == expected
    )


@pytest.mark.parametrize(
    ("found", "booted", "boot_id", "expected"),
    [
        (None, OLD, "later", GateAction.CHECK),
        (make_record(SwitchState.CHECKING), OLD, "boot", GateAction.LEAVE),
        (make_record(SwitchState.CHECKING), OLD, "later", GateAction.CLOSE),
        (
            make_record(SwitchState.BOOTING, staged=True, profile_changed=True),
            NEW,
            "later",
            GateAction.TRY,
        ),
        (
            make_record(SwitchState.BOOTING, staged=True, profile_changed=True),
            OLD,
            "later",
            GateAction.CLOSE,
        ),
        (make_record(SwitchState.KEEPING, profile_changed=True), NEW, "later", GateAction.TRY),
        (make_record(SwitchState.ACTIVATING, activated=True), NEW, "later", GateAction.CLOSE),
    ],
)
def test_the_gate_action(
    found: SwitchRecord | None, booted: Path, boot_id: str, expected: GateAction
) -> None:
    assert gate.decide_gate_action(found, booted=booted, boot_id=boot_id) == expected


@pytest.mark.parametrize(
    ("counted", "was_healthy", "restarts"),
    [(False, False, False), (False, True, False), (True, False, True), (True, True, False)],
)
def test_only_an_unhealthy_trial_boot_is_restarted(
    counted: bool, was_healthy: bool, restarts: bool
) -> None:
    host = replace(HOST, counted=counted)
    assert gate.should_reboot(host, was_healthy=was_healthy) == restarts


def test_the_first_system_of_a_machine_is_not_restarted_into_an_older_one() -> None:
    host = replace(HOST, counted=True, is_first_system=True)
    assert not gate.should_reboot(host, was_healthy=False)


def test_the_summary_of_a_record() -> None:
    summaries = {
        make_record(SwitchState.KEPT): "switched to new",
        make_record(SwitchState.REFUSED, why="no"): "refused, nothing was changed: no",
        make_record(SwitchState.RETURNED, why="no", well=True): "nothing was changed: no",
        make_record(SwitchState.RETURNED, why="no", well=True, activated=True): (
            "rolled back to old, which is healthy: no"
        ),
        make_record(SwitchState.RETURNED, why="no", well=False, activated=True): (
            "rolled back to old, which is not healthy either: no"
        ),
        make_record(
            SwitchState.STUCK, why="no"
        ): "could not roll back to old, intervention needed: no",
    }
    for found, expected in summaries.items():
        assert found.summary() == expected


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    for number in (3, 4, 12):
        (tmp_path / f"gen-{number}").mkdir()
        (tmp_path / f"system-{number}-link").symlink_to(tmp_path / f"gen-{number}")
    (tmp_path / "system-5-link").symlink_to(tmp_path / "collected")
    (tmp_path / "system").symlink_to("system-12-link")
    return tmp_path / "system"


def test_existing_generations_are_listed_in_order(profile: Path) -> None:
    assert list(bootloader.list_generations(profile)) == [3, 4, 12]


def test_a_rollback_chooses_the_last_healthy_or_previous_generation(profile: Path) -> None:
    at = profile.parent
    assert bootloader.choose_generation(profile, at / "gen-12", None, None) == at / "gen-4"
    assert bootloader.choose_generation(profile, at / "gen-12", None, at / "gen-3") == at / "gen-3"
    assert bootloader.choose_generation(profile, at / "gen-12", None, at / "gen-12") == at / "gen-4"
    assert bootloader.choose_generation(profile, at / "unkept", None, None) == at / "gen-12"
    assert bootloader.choose_generation(profile, at / "gen-12", 3, None) == at / "gen-3"
    with pytest.raises(DeployRefused, match="there is no generation 7; there are 3, 4, 12"):
        bootloader.choose_generation(profile, at / "gen-12", 7, None)
