"""Primary and standby: units of the roles, and what a follower leaves alone."""

from __future__ import annotations

import re

import pytest

from barnabee.core import system
from support.nix import ROOT, needs_nixpkgs, report

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
GRAPH = system.load_system(ROOT / "system.toml")
WITHOUT_STANDBY = "{ barnabee.standby.enable = false; }"


def test_standby_has_all_units_and_starts_none() -> None:
    found = report("manofwar")
    assert {f"barnabee-{name}" for name in GRAPH.service} <= set(found["services"])
    assert found["wantedBy"]["barnabee.target"] == []
    assert report("barnabee-core", WITHOUT_STANDBY)["wantedBy"]["barnabee.target"] == [
        "multi-user.target"
    ]


def test_role_files_of_the_lease_keeper_start_the_units_of_the_role() -> None:
    for host in ("barnabee-core", "manofwar"):
        units = report(host)["units"]
        assert "WantedBy" not in units["barnabee.target"]
        for role, path, target in (
            ("serve", "barnabee-serve", "barnabee.target"),
            ("serve", "barnabee-healthy", "barnabee-healthy.target"),
            ("hold", "barnabee-replicate", "barnabee-litestream.service"),
            ("follow", "barnabee-follow", "barnabee-follow.service"),
        ):
            lines = units[f"{path}.path"].splitlines()
            assert f"PathExists=/run/barnabee-lease/{role}" in lines
            assert f"Unit={target}" in lines
        litestream = units["barnabee-litestream.service"].splitlines()
        assert "BindsTo=barnabee-lease.service" in litestream
        assert "ConditionPathExists=/run/barnabee-lease/hold" in litestream
        assert "RestartMode=direct" not in units["barnabee-lease.service"]
        for service in ("api", "worker", "restore", "litestream"):
            text = units[f"barnabee-{service}.service"]
            assert 'Environment="BARNABEE_LEASE_DIR=/run/barnabee-lease"' in text
        with_epoch = {name for name, text in units.items() if "BARNABEE_LINE=/data/line" in text}
        replicating = ("api", "drill", "litestream", "pin", "restore", "rollback-data@")
        names = (*replicating, "snapshot", "worker")
        assert with_epoch == {f"barnabee-{name}.service" for name in names}
        for name in with_epoch:  # others may not read the data directory
            assert "Group=barnabee" in units[name].splitlines()


def test_the_checks_of_a_deployment_leave_a_follower_alone() -> None:
    extra = "{ lib, ... }: { barnabee.deploy.enable = lib.mkForce true; }"
    units = report("barnabee-core", extra)["units"]
    for name, flags in (("health", "-r"), ("probe", "-r -u barnabee-api.service")):
        assert f"await-role.sh {flags} " in units[f"barnabee-{name}.service"]
    conflicts = re.findall(r"^Conflicts=(.*)$", units["barnabee-follow.service"], re.MULTILINE)
    assert "barnabee-health.service" not in " ".join(conflicts).split()
    # A demotion stops it through its target.
    assert "PartOf=barnabee-healthy.target" in units["barnabee-health.service"].splitlines()


def test_the_follower_and_a_rollback_wait_for_the_end_of_every_writer() -> None:
    units = report("barnabee-core")["units"]
    for name in ("barnabee-follow.service", "barnabee-rollback-data@.service"):
        conflicts, after = (
            set(" ".join(re.findall(rf"^{key}=(.*)$", units[name], re.MULTILINE)).split())
            for key in ("Conflicts", "After")
        )
        for unit, text in units.items():
            writes = re.search(r"^ReadWritePaths=.*/data\b", text, re.MULTILINE)
            if writes and "PartOf=barnabee.target" in text.splitlines():
                assert unit in conflicts, (name, unit)
        assert {"barnabee.target", "barnabee-supervisor.service"} <= conflicts
        assert conflicts <= after
        # During a rollback these would start the services again.
        paths = {f"barnabee-{role}.path" for role in ("serve", "healthy", "replicate")}
        assert (paths <= conflicts) == ("rollback" in name)


def test_only_primary_and_standby_connect_to_each_others_redis() -> None:
    core, standby = (report(host)["firewall"]["rules"] for host in ("barnabee-core", "manofwar"))
    assert "ip saddr { 10.77.0.3 } tcp dport 6379 accept" in core
    assert "ip saddr { 10.77.0.12 } tcp dport 6379 accept" in standby
    assert core.count("6379") == standby.count("6379") == 1
    assert "ip saddr { 192.168.1.10 } ip protocol 112 accept" in standby
    beast = report("beast")["firewall"]["rules"]
    assert "ip saddr { 192.168.1.11 } ip protocol 112 accept" in beast
