"""First installation, with `nix`, `ssh` and `sops` replaced by scripts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from barnabee.cli.app import app
from barnabee.deploy import gate
from barnabee.deploy.host_check import InstallFacts
from barnabee.deploy.install import HostKeys
from barnabee.deploy.machine import HostState
from support.deploy_memory import FakeSystem, MachineState, MemoryJournal, MemoryMachine
from support.hardware_tree import HardwareTree

SYSTEM = "/nix/store/new"
DISK = "/dev/disk/by-id/nvme-Maker_990_S1"
FACTS = InstallFacts(
    disk=DISK,
    interfaces=("enp7s0",),
    has_login=True,
    is_primary=True,
    encrypted=False,
    key_file=Path("/var/lib/sops-nix/key.txt"),
    secrets_directory=Path("/var/lib/barnabee-secrets"),
    secrets=("api_token", "b2_key_id", "home_assistant_token"),
    page_hosts=("192.168.1.50",),
)
NIX = """#!/bin/sh
echo "nix $*" >>"$HOST/commands"
case "$*" in
*installFacts*) cat "$HOST/facts.json" ;;
*build*) echo /nix/store/new ;;
esac
"""
# Runs what reads the hardware or unpacks the secrets; the disk is the directory mnt. The command
# that the file `fails` names has no connection.
SSH = """#!/bin/sh
for last; do :; done
case $last in
*vendor_id*) exec sh -c "$last" ;;
esac
case $last in
"$(cat "$HOST/fails" 2>/dev/null)"*) [ ! -e "$HOST/fails" ] || exit 255 ;;
esac
echo "$last" >>"$HOST/commands"
case $last in
tar*) mkdir -p "$HOST/mnt"; exec sh -c "$(echo "$last" | sed "s|/mnt|$HOST/mnt|")" ;;
esac
"""
SOPS = """#!/bin/sh
echo "$*" >"$HOST/sops-arguments"
echo "# $*"
sed 's/^/encrypted: /'
"""
ARGUMENTS = ["deploy-initial", "beast", "--to", "root@installer", "--erase", DISK]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = {
        "nix": NIX,
        "ssh": SSH,
        "sops": SOPS,
        "git": "#!/bin/sh\necho git $* >>$HOST/commands",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    HardwareTree(tmp_path / "root").add_workstation()
    (tmp_path / "facts.json").write_text(FACTS.model_dump_json())
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HOST", str(tmp_path))
    monkeypatch.setenv("BARNABEE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("ROOT", str(tmp_path / "root"))
    return tmp_path


def read_commands(host: Path) -> list[str]:
    return (host / "commands").read_text().splitlines()


def read_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_an_installation_runs_its_commands_in_order_and_brings_the_secrets(host: Path) -> None:
    given = host / "given"
    given.mkdir()
    (given / "b2_key_id").write_text("a key")
    done = CliRunner().invoke(app, [*ARGUMENTS, "--secrets", str(given)])
    assert done.exit_code == 0, done.output
    facts, disko, toplevel, copied, erased, onto, installed, secrets = read_commands(host)
    assert "barnabee.installFacts" in facts
    assert "diskoScript" in disko
    assert "toplevel" in toplevel
    assert copied.endswith(f"ssh-ng://root@installer {SYSTEM}")
    assert erased == SYSTEM
    assert onto.endswith(f"ssh-ng://root@installer?remote-store=local%3Froot=/mnt {SYSTEM}")
    assert installed == f"nixos-install --no-root-passwd --no-channel-copy --system {SYSTEM}"
    assert secrets.startswith("tar --extract")
    directory = host / "mnt/var/lib/barnabee-secrets"
    assert (directory / "b2_key_id").read_text() == "a key"
    assert len((directory / "api_token").read_text()) >= 40
    assert {path.name for path in directory.iterdir()} == {"api_token", "b2_key_id"}
    assert (read_mode(directory), read_mode(directory / "b2_key_id")) == (0o700, 0o400)
    # What is left to do, in one list.
    assert "- home_assistant_token: Home Assistant: a long-lived access token" in done.output
    assert "The page: https://192.168.1.50/" in done.output


def test_nothing_is_built_or_erased_while_there_are_problems(host: Path) -> None:
    placeholders = {"barnabee.uplink": '"enp5s0"'}
    changed = FACTS.model_copy(update={"interfaces": ("enp5s0",), "placeholders": placeholders})
    (host / "facts.json").write_text(changed.model_dump_json())
    arguments = [*ARGUMENTS[:-1], "/dev/disk/by-id/another"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    for problem in (
        "- --erase names /dev/disk/by-id/another, but barnabee.disk is /dev/disk/by-id/nvme-Maker",
        '- barnabee.uplink is still the example "enp5s0"',
        "- There is no interface enp5s0 on that machine",
    ):
        assert problem in done.output
    assert len(read_commands(host)) == 1  # only the query of the facts


@pytest.fixture
def with_sops(host: Path) -> list[str]:
    """Return the options of an installation with sops, all secrets given."""
    flake, given = host / "flake", host / "given"
    for folder in (flake, given):
        folder.mkdir()
    (flake / "flake.nix").touch()
    for name in FACTS.secrets:
        (given / name).write_text(f"value of {name}")
    return ["--sops", "--secrets", str(given), "--flake", str(flake)]


def run_with_sops(options: list[str]) -> Result:
    return CliRunner().invoke(app, [*ARGUMENTS, *options], env={"SOPS_AGE_KEY_FILE": "/missing"})


def test_with_sops_the_flake_gets_the_secrets_and_the_machine_its_key(
    host: Path, with_sops: list[str]
) -> None:
    done = run_with_sops(with_sops)
    assert done.exit_code == 0, done.output
    flake = host / "flake"
    text = (flake / "secrets/house.yaml").read_text().rpartition("encrypted: ")[2]
    assert json.loads(text) == {name: f"value of {name}" for name in FACTS.secrets}
    assert f"git -C {flake} add --intent-to-add secrets/house.yaml" in read_commands(host)
    key = host / "mnt/var/lib/sops-nix/key.txt"
    assert key.read_text().startswith("AGE-SECRET-KEY-1")
    assert read_mode(key) == 0o400
    assert "--age age1" in (host / "sops-arguments").read_text()
    assert "There is no /missing: only the host itself can decrypt its secrets" in done.output
    assert not (host / "mnt/var/lib/barnabee-secrets").exists()
    assert not list((host / "state/host-keys").iterdir())  # the machine has it


@pytest.mark.parametrize("step", ["/nix/store/new", "nixos-install", "tar"])
def test_the_key_of_a_failed_installation_is_kept_for_the_next_try(
    host: Path, with_sops: list[str], step: str
) -> None:
    (host / "fails").write_text(step)
    done = run_with_sops(with_sops)
    assert done.exit_code == 1, done.output
    kept = host / "state/host-keys/beast.txt"
    key = kept.read_text()
    assert (read_mode(kept.parent), read_mode(kept)) == (0o700, 0o600)
    assert f"The age key of beast is in {kept}; the next try uses it" in done.output

    (host / "fails").unlink()
    encrypted = FACTS.model_copy(update={"encrypted": True})
    (host / "facts.json").write_text(encrypted.model_dump_json())
    done = run_with_sops(with_sops)
    assert done.exit_code == 0, done.output
    assert (host / "mnt/var/lib/sops-nix/key.txt").read_text() == key
    assert not kept.exists()
    assert "The age key of beast" not in done.output


def test_the_key_is_kept_when_the_secrets_could_not_be_encrypted(
    host: Path, with_sops: list[str]
) -> None:
    (host / "sops").write_text("#!/bin/sh\nexit 1")
    assert run_with_sops(with_sops).exit_code == 1
    key = (host / "state/host-keys/beast.txt").read_text()
    (host / "sops").write_text(SOPS)
    assert run_with_sops(with_sops).exit_code == 0
    assert (host / "mnt/var/lib/sops-nix/key.txt").read_text() == key


def test_a_kept_key_for_other_secrets_is_not_used(host: Path, with_sops: list[str]) -> None:
    (host / "fails").write_text("tar")
    assert run_with_sops(with_sops).exit_code == 1
    (host / "flake/secrets/house.yaml").write_text("encrypted for another key")
    encrypted = FACTS.model_copy(update={"encrypted": True})
    (host / "facts.json").write_text(encrypted.model_dump_json())
    done = run_with_sops(with_sops)
    assert done.exit_code == 2
    assert "--age-key is not set" in done.output


def test_a_damaged_own_age_key_is_refused_before_anything_is_written(host: Path) -> None:
    (host / "flake.nix").touch()
    given = host / "given"
    given.mkdir()
    for name in FACTS.secrets:
        (given / name).write_text("a value")
    (host / "keys.txt").write_text("AGE-SECRET-KEY-1ABC\n")
    options = ["--sops", "--secrets", str(given), "--flake", str(host)]
    keys = {"SOPS_AGE_KEY_FILE": str(host / "keys.txt")}
    done = CliRunner().invoke(app, [*ARGUMENTS, *options], env=keys)
    assert done.exit_code == 2
    assert f"The age keys in {host}/keys.txt cannot be read" in done.output
    assert not (host / "secrets").exists()


def test_sops_lists_all_secrets_that_are_missing(host: Path) -> None:
    (host / "flake.nix").touch()
    done = CliRunner().invoke(app, [*ARGUMENTS, "--sops", "--flake", str(host)])
    assert done.exit_code == 2
    assert "- b2_key_id: " in done.output
    assert "- home_assistant_token: " in done.output
    assert len(read_commands(host)) == 1


def test_sops_needs_the_directory_of_the_flake(host: Path) -> None:
    done = CliRunner().invoke(app, [*ARGUMENTS, "--sops", "--flake", "github:you/barnabee"])
    assert done.exit_code == 2
    assert "The --flake is invalid: --sops changes the flake" in done.output
    assert len(read_commands(host)) == 1


def test_encrypted_secrets_need_the_key_of_the_host(host: Path) -> None:
    encrypted = FACTS.model_copy(update={"encrypted": True})
    (host / "facts.json").write_text(encrypted.model_dump_json())
    done = CliRunner().invoke(app, ARGUMENTS)
    assert done.exit_code == 2
    assert "--age-key is not set" in done.output
    (host / "key.txt").write_text("AGE-SECRET-KEY-1X\n")
    done = CliRunner().invoke(app, [*ARGUMENTS, "--age-key", str(host / "key.txt")])
    assert done.exit_code == 0, done.output
    assert (host / "mnt/var/lib/sops-nix/key.txt").read_text() == "AGE-SECRET-KEY-1X\n"


def test_a_dry_run_prints_the_commands_and_runs_none(host: Path) -> None:
    done = CliRunner().invoke(app, [*ARGUMENTS, "--dry-run"])
    assert done.exit_code == 0
    assert len(done.output.splitlines()) == 8
    assert not (host / "commands").exists()


def test_secrets_do_not_appear_in_the_representation_of_keys() -> None:
    assert "a secret" not in repr(HostKeys({"api_token": "a secret"}, "a secret"))


class FirstBoot(MemoryMachine):
    """A machine with one system."""

    def read_state(self) -> HostState:
        return HostState("boot-1", "6.18", None, counted=True, is_first_system=True)


def test_an_unhealthy_first_boot_stays_with_its_reason() -> None:
    only = Path("/nix/store/only")
    state = MachineState({only: FakeSystem(healthy=False)}, only, only, only, only)
    verdict = gate.run_gate(FirstBoot(state), MemoryJournal(state))
    assert not verdict.is_good
    assert verdict.why == (
        "the api does not answer; there is no older system to return to, so this one stays"
    )
    assert not state.rebooting


def test_the_host_file_is_written_only_when_the_hardware_is_known(host: Path) -> None:
    file = host / "hosts/beast/default.nix"
    arguments = ["facts", "beast", "--on", "root@installer", "--output", str(file)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert f"The --output is invalid: {file} cannot be written" in done.output
    file.parent.mkdir(parents=True)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    text = file.read_text()
    assert text.startswith("# Hardware of beast")
    assert text == CliRunner().invoke(app, arguments[:-2]).stdout

    (host / "ssh").write_text("#!/bin/sh\nexit 255")
    assert CliRunner().invoke(app, arguments).exit_code == 1
    assert file.read_text() == text
