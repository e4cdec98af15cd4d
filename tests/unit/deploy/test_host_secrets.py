"""Secrets of a NixOS host: listed, generated, stored, and guests that wait for them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.core import system
from barnabee.core.errors import BadInput, Misconfigured
from barnabee.deploy import host_secrets
from barnabee.deploy.host_secrets import HostSecrets
from support.programs import needs_program

ROOT = Path(__file__).resolve().parents[3]
CORE, VM = "container@barnabee-core.service", "microvm@barnabee-gpu.service"


@pytest.fixture
def host(tmp_path: Path) -> HostSecrets:
    directory = tmp_path / "secrets"
    names = ("api_token", "b2_key_id")
    return HostSecrets(
        directory=directory,
        files={name: directory / name for name in names},
        is_primary=True,
        guests={CORE: names, VM: ("api_token",)},
        failing=("barnabee-healthy.target", "barnabee-boot-gate.service"),
    )


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file in which a `systemctl` of this test writes its arguments."""
    program, log = tmp_path / "systemctl", tmp_path / "started"
    program.write_text(f'#!/bin/sh\necho "$*" >>{log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return log


def test_guests_start_when_their_secrets_come_and_the_checks_run_again(
    host: HostSecrets, started: Path
) -> None:
    sentences: list[str] = []
    arrivals = iter(["api_token", "b2_key_id"])

    def sleep(seconds: float) -> None:
        del seconds
        host_secrets.store_secret(host, next(arrivals), "a value")

    host_secrets.wait_for_secrets(host, sentences.append, sleep)
    starts = [line for line in started.read_text().splitlines() if line.startswith("start")]
    assert starts == [
        f"start --no-block {VM}",
        f"start --no-block {CORE} barnabee-healthy.target barnabee-boot-gate.service",
    ]
    first, second, last = sentences
    assert first.startswith(
        f"Missing secrets: api_token, b2_key_id. {CORE} waits for api_token, b2_key_id. {VM} waits"
    )
    assert "Run `barnabee secrets add`" in first
    assert second.startswith(f"Missing secrets: b2_key_id. {CORE} waits for b2_key_id. Run ")
    assert last == ""


def test_with_all_secrets_nothing_waits(host: HostSecrets, started: Path) -> None:
    for name in host.files:
        host_secrets.store_secret(host, name, "a value")
    host_secrets.wait_for_secrets(host, lambda _: None, lambda _: pytest.fail("it waits"))
    assert started.read_text().splitlines()[-1] == f"start --no-block {CORE} {VM}"


def test_a_stored_secret_is_for_root_only(host: HostSecrets) -> None:
    assert host.list_missing() == ["api_token", "b2_key_id"]
    host_secrets.store_secret(host, "api_token", "a value")
    file = host.files["api_token"]
    assert file.read_text() == "a value"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o400, 0o700)
    assert host.list_missing() == ["b2_key_id"]


def test_encrypted_secrets_are_changed_in_the_flake(host: HostSecrets) -> None:
    encrypted = host.model_copy(update={"directory": None})
    with pytest.raises(Misconfigured, match="encrypted: change the file with `sops`"):
        host_secrets.store_secret(encrypted, "api_token", "a value")
    assert "/var/lib/sops-nix/key.txt" in encrypted.remedy()


def test_random_secrets_are_generated_and_others_are_not() -> None:
    names = ("api_token", "b2_key_id", "grafana_secret_key", "tls_key")
    made = host_secrets.generate_secrets(names, [], is_primary=True)
    assert made.keys() == {"api_token", "grafana_secret_key"}
    assert min(map(len, made.values())) >= 40


def test_another_host_takes_the_token_and_certificate_of_the_primary() -> None:
    names = ("api_token", "grafana_secret_key", "tls_certificate", "tls_key")
    made = host_secrets.generate_secrets(names, [], is_primary=False)
    assert made.keys() == {"grafana_secret_key"}


@needs_program("openssl", "openssl")
def test_a_generated_certificate_is_for_the_pages_names(tmp_path: Path) -> None:
    made = host_secrets.generate_secrets(
        ("tls_certificate", "tls_key"), ["192.168.1.50", "barnabee.local"], is_primary=True
    )
    assert "PRIVATE KEY" in made["tls_key"]
    command = ["openssl", "x509", "-noout", "-ext", "subjectAltName"]
    done = subprocess.run(
        command, input=made["tls_certificate"], capture_output=True, text=True, check=True
    )
    assert "DNS:barnabee.local" in done.stdout
    assert "IP Address:192.168.1.50" in done.stdout


def test_every_secret_of_the_graph_has_a_purpose() -> None:
    graph = system.load_system(ROOT / "system.toml")
    names = {name for node in graph.nodes().values() for name in node.credentials}
    derived = {"talk_token", "infer_token", "metrics_token"}
    named = {name for name in names - derived if not name.startswith("redis_")}
    assert named <= host_secrets.PURPOSES.keys()


def test_a_directory_gives_the_secrets_that_it_has(tmp_path: Path) -> None:
    (tmp_path / "api_token").write_text("a value")
    names = ("api_token", "b2_key_id")
    assert host_secrets.read_directory(tmp_path, names) == {"api_token": "a value"}
    (tmp_path / "b2_key_id").mkdir()
    with pytest.raises(BadInput, match="The secret b2_key_id cannot be read"):
        host_secrets.read_directory(tmp_path, names)


@pytest.fixture
def installed(host: HostSecrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostSecrets:
    """Make `host` that of this machine."""
    file = tmp_path / "secrets.json"
    file.write_text(host.model_dump_json())
    monkeypatch.setattr(host_secrets, "SECRETS_FILE", file)
    return host


def test_the_list_says_what_is_missing_and_what_for(installed: HostSecrets) -> None:
    host_secrets.store_secret(installed, "api_token", "a value")
    done = CliRunner().invoke(app, ["secrets", "list"])
    assert done.exit_code == 1
    assert "● there   api_token: the admin token" in done.output
    assert "✗ missing b2_key_id: the replica of the database: the key id" in done.output
    assert "1 missing. Run `barnabee secrets add`" in done.output


def test_one_secret_is_read_from_standard_input(installed: HostSecrets) -> None:
    done = CliRunner().invoke(app, ["secrets", "add", "b2_key_id"], input="a key")
    assert done.exit_code == 0, done.output
    assert "still missing: api_token" in done.output
    assert installed.files["b2_key_id"].read_text() == "a key"


def test_missing_secrets_come_from_a_directory_or_are_generated(
    installed: HostSecrets, tmp_path: Path
) -> None:
    (tmp_path / "b2_key_id").write_text("a key")
    done = CliRunner().invoke(app, ["secrets", "add", "--from", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert installed.list_missing() == []
    assert len(installed.files["api_token"].read_text()) >= 40


def test_an_unknown_name_is_refused(installed: HostSecrets) -> None:
    del installed
    done = CliRunner().invoke(app, ["secrets", "add", "b2_key"])
    assert done.exit_code == 2
    assert "There is no secret b2_key on this host" in done.output
