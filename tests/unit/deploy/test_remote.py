"""Remote deployment, with `nix` and `ssh` replaced by scripts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.deploy import remote
from barnabee.deploy.command import StepFailed
from barnabee.deploy.journal import SwitchState
from barnabee.deploy.plan import SwitchRequest
from support.deploy_memory import make_record

SYSTEM = "/nix/store/new"
NIX = """#!/bin/sh
echo "nix $*" >>"$HOST/commands"
case "$*" in *build*) echo /nix/store/new ;; esac
"""
SSH = """#!/bin/sh
for last; do :; done
echo "$last" >>"$HOST/commands"
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
    (tmp_path / "kept.json").write_text(make_record(SwitchState.KEPT, well=True).model_dump_json())
    (tmp_path / "record.json").write_text(make_record(SwitchState.WAITING).model_dump_json())
    return tmp_path


def read_commands(host: Path) -> list[str]:
    return (host / "commands").read_text().splitlines()


def make_plan() -> remote.DeployPlan:
    return remote.DeployPlan("beast", "root@beast", ".", SwitchRequest(Path("/"), confirm=True))


def test_a_system_is_built_copied_switched_and_confirmed(host: Path) -> None:
    lines: list[str] = []
    found = remote.deploy_host(make_plan(), lines.append)
    assert found.state == SwitchState.KEPT
    build, copy, switch, show, confirm, *_ = read_commands(host)
    assert "build --no-link --print-out-paths .#nixosConfigurations.beast." in build
    assert copy.endswith(f"copy --substitute-on-destination --to ssh-ng://root@beast {SYSTEM}")
    assert switch.endswith(f"exec $p {SYSTEM} --detach --confirm")
    assert show.endswith("exec $p deploys show 20260131T120000Z-abcd --json")
    assert confirm.endswith("exec $p deploys confirm 20260131T120000Z-abcd")
    assert lines[0] == "building beast"


def test_an_unreachable_host_is_not_confirmed(host: Path) -> None:
    (host / "cut").touch()
    with pytest.raises(StepFailed, match="without confirmation it rolls back"):
        remote.follow_host(make_plan(), SYSTEM, "1", lambda _: None, patience_s=0.1)
    assert not [line for line in read_commands(host) if "confirm" in line]


def test_the_hosts_outcome_becomes_the_exit_status(host: Path) -> None:
    back = make_record(SwitchState.RETURNED, why="the api answers 500", well=True, activated=True)
    (host / "record.json").write_text(back.model_dump_json())
    done = CliRunner().invoke(app, ["deploy", "beast"])
    assert done.exit_code == 1
    assert "rolled back to old, which is healthy: the api answers 500" in done.output


def test_a_dry_run_prints_the_commands_and_runs_none(host: Path) -> None:
    done = CliRunner().invoke(app, ["deploy", "beast", "--flake", "github:a/b", "--dry-run"])
    assert done.exit_code == 0
    assert len(done.output.splitlines()) == 4
    assert "github:a/b#nixosConfigurations.beast" in done.output
    assert not (host / "commands").exists()


def test_a_rollback_can_run_over_ssh(host: Path) -> None:
    arguments = ["rollback", "7", "--on", "root@beast", "--with-data"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert read_commands(host) == ["barnabee rollback 7 --with-data"]


def test_unknown_fields_of_a_record_are_ignored(host: Path) -> None:
    text = make_record(SwitchState.KEPT).model_dump() | {"what_is_new": 1}
    (host / "record.json").write_text(json.dumps(text))
    assert remote.follow_host(make_plan(), SYSTEM, "1", lambda _: None).state == SwitchState.KEPT
