"""Renamed options, keys and outputs: the old names work, with a warning."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from barnabee.core import system
from barnabee.core.renamed import REMOVED_SYSTEM_KEYS, RENAMED_SYSTEM_KEYS
from support.nix import NIXPKGS, ROOT, evaluate, needs_nixpkgs, try_evaluate

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
OLD_OPTIONS = """{ lib, ... }: {
    barnabee.standby = {
        address = lib.mkForce "192.168.1.60/24"; carrier = "barnabee-core";
        lan.barnabee-core = "192.168.1.12";
    };
}"""
OLD_KEYS = """{
    barnabee.system = {
        card.headroom_mib = 700; session.turns_kept = 7; external.smtp.away_most_s = 99;
        backup.cpu_percent = 50;
    };
}"""


def run_renamed_keys(expression: str) -> Any:
    """Evaluate `expression`, in which `renamed` is nixos/lib/renamed-keys.nix."""
    file = ROOT / "nixos/lib/renamed-keys.nix"
    names = f"lib = import {NIXPKGS}/lib; renamed = import {file} {{ inherit lib; }};"
    nix = f"let {names} in {expression}"
    command = ["nix-instantiate", "--eval", "--strict", "--json", "-E", nix]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_renamed_keys_are_those_of_python() -> None:
    assert json.loads(run_renamed_keys("renamed.table").stdout) == dict(RENAMED_SYSTEM_KEYS)
    assert json.loads(run_renamed_keys("renamed.removed").stdout) == list(REMOVED_SYSTEM_KEYS)


def test_renamed_keys_inside_mkif_and_mkmerge_get_their_new_names() -> None:
    done = run_renamed_keys(
        "(renamed.renameKeys (lib.mkMerge [ { trouble = lib.mkIf true { deaf = 1; }; }"
        " { card.vram_mib = 2; } { gpu.vram_mib = 3; } ])).contents"
    )
    first, second, third = json.loads(done.stdout)
    assert first["trouble"]["content"] == {"stt_failed": 1}
    assert (second, third) == ({"gpu": {"vram_mib": 2}}, {"gpu": {"vram_mib": 3}})
    assert done.stderr.count("barnabee.system.card is now called barnabee.system.gpu") == 1


def test_old_keys_of_system_toml_are_options_for_one_release() -> None:
    done = try_evaluate(f'(hosts.report "barnabee-core" ({OLD_KEYS})).written')
    assert done.returncode == 0, done.stderr
    written = system.parse_system(json.loads(done.stdout))
    assert written.gpu.headroom_mib == 700
    assert written.session.turns_max == 7
    assert written.external["smtp"].backoff_max_s == 99
    for old, new in (("card", "gpu"), ("session.turns_kept", "session.turns_max")):
        warning = f"barnabee.system.{old} is now called barnabee.system.{new};"
        assert done.stderr.count(warning) == 1
    assert done.stderr.count("barnabee.system.backup.cpu_percent is ignored") == 1


def test_a_key_with_its_old_and_its_new_name_is_an_error() -> None:
    both = "{ barnabee.system = { card.headroom_mib = 1; gpu.headroom_mib = 2; }; }"
    done = try_evaluate(f'(hosts.report "barnabee-core" ({both})).written')
    assert done.returncode != 0
    assert "barnabee.system.card" in done.stderr


def test_old_option_names_warn_and_set_the_new_ones() -> None:
    host = f"(hosts.hosts.barnabee-core.extendModules {{ modules = [ ({OLD_OPTIONS}) ]; }}).config"
    found = evaluate(
        f"let c = {host}; in {{ inherit (c) warnings;"
        " inherit (c.barnabee.standby) virtualIp virtualIpHost lanAddresses; }"
    )
    assert found["virtualIp"] == "192.168.1.60/24"
    assert found["virtualIpHost"] == "barnabee-core"
    assert found["lanAddresses"]["barnabee-core"] == "192.168.1.12"
    assert len(found["warnings"]) == 3
    for old in ("address", "carrier", "lan"):
        assert any(f"`barnabee.standby.{old}'" in text for text in found["warnings"])
