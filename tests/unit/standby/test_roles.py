"""Roles that follow from the lease: serving and following exclude each other."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from barnabee.standby.roles import DesiredRole, Role, RoleInputs, StateFiles, decide_roles

ALL_INPUTS = [
    RoleInputs(desired, *flags)
    for desired in DesiredRole
    for flags in itertools.product((False, True), repeat=5)
]


@pytest.mark.parametrize("inputs", ALL_INPUTS)
def test_roles_exclude_each_other_and_replication_needs_the_lease(inputs: RoleInputs) -> None:
    roles = decide_roles(inputs)
    assert not {Role.SERVE, Role.FOLLOW} <= roles
    assert Role.HOLD not in roles or inputs.holds_lease
    assert Role.HOLD not in roles or Role.SERVE in roles
    assert Role.SERVE not in roles or inputs.desired is DesiredRole.HOLD
    assert Role.ADDRESS not in roles or inputs.may_have_address or Role.SERVE in roles
    # A machine that does not know whether another has written must not act as the standby.
    assert Role.FOLLOW not in roles or inputs.store_answered


def make_inputs(desired: DesiredRole = DesiredRole.HOLD, **flags: bool) -> RoleInputs:
    names = ("holds_lease", "superseded", "store_answered", "was_serving", "may_have_address")
    return RoleInputs(desired, **{name: flags.get(name, False) for name in names})


def test_a_primary_without_its_store_serves_but_does_not_replicate() -> None:
    assert decide_roles(make_inputs(was_serving=True)) == {Role.SERVE, Role.ADDRESS}


def test_a_superseded_primary_follows_whatever_role_is_desired() -> None:
    inputs = make_inputs(superseded=True, store_answered=True, was_serving=True)
    assert decide_roles(inputs) == {Role.FOLLOW}


def test_a_machine_that_never_served_waits_for_the_store() -> None:
    assert decide_roles(make_inputs()) == frozenset()


def test_the_standby_may_have_the_address_when_no_other_can_hold_the_lease() -> None:
    follow = DesiredRole.FOLLOW
    assert decide_roles(make_inputs(follow, store_answered=True)) == {Role.FOLLOW}
    inputs = make_inputs(follow, store_answered=True, may_have_address=True)
    assert decide_roles(inputs) == {Role.FOLLOW, Role.ADDRESS}


@pytest.fixture
def files(tmp_path: Path) -> StateFiles:
    for name in ("run", "lib"):
        (tmp_path / name).mkdir()
    return StateFiles(tmp_path / "run", tmp_path / "lib")


def test_roles_are_files_and_serving_is_remembered(files: StateFiles) -> None:
    files.publish_roles({Role.SERVE, Role.HOLD})
    assert files.read_roles() == {Role.SERVE, Role.HOLD}
    assert files.was_serving
    files.publish_roles({Role.FOLLOW})
    assert files.read_roles() == {Role.FOLLOW}
    assert not files.was_serving


def test_the_desired_role_is_the_default_until_one_is_written(files: StateFiles) -> None:
    assert files.read_desired_role(DesiredRole.FOLLOW) is DesiredRole.FOLLOW
    files.write_desired_role(DesiredRole.HOLD)
    assert files.read_desired_role(DesiredRole.FOLLOW) is DesiredRole.HOLD
    (files.state / "wish").write_text("perhaps")
    assert files.read_desired_role(DesiredRole.FOLLOW) is DesiredRole.FOLLOW


def test_a_missing_or_malformed_status_is_empty(files: StateFiles) -> None:
    assert files.read_status() == {}
    files.write_status({"line": 3})
    assert files.read_status() == {"line": 3}
    (files.runtime / "status.json").write_text("[]")
    assert files.read_status() == {}
