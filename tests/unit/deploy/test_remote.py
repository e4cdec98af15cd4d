"""The developer's side against a host of scripts: built, copied, switched, confirmed, or not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.deploy import install, remote
from barnabee.deploy.errors import DeployRefused, StepFailed
from barnabee.deploy.journal import State
from barnabee.deploy.plan import Order
from support.deploy_memory import record

SYSTEM = "/nix/store/new"
NIX = """#!/bin/sh
echo "nix $*" >>"$HOST/told"
case "$*" in *eval*) printf /dev/disk/by-id/nvme ;; *build*) echo /nix/store/new ;; esac
"""
SSH = """#!/bin/sh
for last; do :; done
echo "$last" >>"$HOST/told"
[ ! -e "$HOST/cut" ] || exit 255
case $last in
*"deploys confirm"*) cp "$HOST/kept.json" "$HOST/record.json" ;;
*"deploys show"*) cat "$HOST/record.json" ;;
*--detach*) echo 20260131T120000Z-abcd ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (("nix", NIX), ("ssh", SSH)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HOST", str(tmp_path))
    (tmp_path / "kept.json").write_text(record(State.KEPT, well=True).model_dump_json())
    (tmp_path / "record.json").write_text(record(State.WAITING).model_dump_json())
    return tmp_path


def told(host: Path) -> list[str]:
    return (host / "told").read_text().splitlines()


def a_plan() -> remote.Plan:
    return remote.Plan("beast", "root@beast", ".", Order(Path("/"), confirm=True))


def test_it_is_built_copied_switched_and_confirmed(host: Path) -> None:
    lines: list[str] = []
    found = remote.deploy(a_plan(), lines.append)
    assert found.state == State.KEPT
    build, copy, switch, show, confirm, *_ = told(host)
    assert "build --no-link --print-out-paths .#nixosConfigurations.beast." in build
    assert copy.endswith(f"copy --substitute-on-destination --to ssh-ng://root@beast {SYSTEM}")
    assert switch.endswith(f"exec $p {SYSTEM} --detach --confirm")
    assert show.endswith("exec $p deploys show 20260131T120000Z-abcd --json")
    assert confirm.endswith("exec $p deploys confirm 20260131T120000Z-abcd")
    assert lines[0] == "building beast"


def test_a_host_that_is_not_reached_any_more_is_not_confirmed(host: Path) -> None:
    (host / "cut").touch()
    with pytest.raises(StepFailed, match="unconfirmed, it goes back by itself"):
        remote.follow(a_plan(), SYSTEM, "1", lambda _: None, patience_s=0.1)
    assert not [line for line in told(host) if "confirm" in line]


def test_what_the_host_says_is_the_exit_status(host: Path) -> None:
    back = record(State.RETURNED, why="the api answers 500", well=True, activated=True)
    (host / "record.json").write_text(back.model_dump_json())
    done = CliRunner().invoke(app, ["deploy", "beast"])
    assert done.exit_code == 1
    assert "went back to old and it is well: the api answers 500" in done.output


def test_a_dry_run_says_it_all_and_does_nothing(host: Path) -> None:
    done = CliRunner().invoke(app, ["deploy", "beast", "--flake", "github:a/b", "--dry-run"])
    assert done.exit_code == 0
    assert len(done.output.splitlines()) == 4
    assert "github:a/b#nixosConfigurations.beast" in done.output
    assert not (host / "told").exists()


def test_a_disk_that_nobody_named_is_not_erased(host: Path) -> None:
    plan = install.Plan("beast", "root@installer", ".", "/dev/disk/by-id/another")
    with pytest.raises(DeployRefused, match="--erase names /dev/disk/by-id/another, but"):
        install.install(plan, lambda _: None)
    assert len(told(host)) == 1  # the question


def test_an_installation_comes_in_order(host: Path) -> None:
    plan = install.Plan("beast", "root@installer", ".", "/dev/disk/by-id/nvme")
    install.install(plan, lambda _: None)
    *_, copied, erased, onto, installed = told(host)
    assert copied.endswith(f"ssh-ng://root@installer {SYSTEM}")
    assert erased == SYSTEM
    assert onto.endswith(f"ssh-ng://root@installer?remote-store=local%3Froot=/mnt {SYSTEM}")
    assert installed == f"nixos-install --no-root-passwd --no-channel-copy --system {SYSTEM}"


def test_a_rollback_can_be_asked_for_from_elsewhere(host: Path) -> None:
    arguments = ["rollback", "7", "--on", "root@beast", "--with-data"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert told(host) == ["barnabee rollback 7 --with-data"]


def test_a_record_survives_being_read_by_another_version(host: Path) -> None:
    text = record(State.KEPT).model_dump() | {"what_is_new": 1}
    (host / "record.json").write_text(json.dumps(text))
    assert remote.follow(a_plan(), SYSTEM, "1", lambda _: None).state == State.KEPT
