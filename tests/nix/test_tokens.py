"""Files with tokens and passwords that a host writes itself: order of the units, owners."""

from __future__ import annotations

import pytest

from support.nix import evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]


def test_units_start_after_those_that_write_their_tokens_and_passwords() -> None:
    writers = {
        "/barnabee-tokens": "barnabee-tokens.service",
        "/run/barnabee-redis-passwords": "barnabee-redis-passwords.service",
    }
    for host in ("barnabee-core", "barnabee-gpu", "manofwar"):
        for name, text in evaluate(f'(hosts.report "{host}" {{ }}).units').items():
            lines = text.splitlines()
            for path, writer in writers.items():
                if name.startswith(writer.removesuffix(".service")) or path not in text:
                    continue
                for key in ("After", "Wants"):
                    (found,) = (line for line in lines if line.startswith(f"{key}="))
                    assert writer in found.removeprefix(f"{key}=").split(), (host, name, key)
                assert not any(writer in line for line in lines if line.startswith("Requires="))


def test_directories_of_tokens_have_users_and_groups_that_exist() -> None:
    for host in ("barnabee-core", "barnabee-gpu", "barnabee-monitoring"):
        known = evaluate(
            f"let made = hosts.hosts.{host}.config; in {{"
            " users = builtins.attrNames made.users.users;"
            " groups = builtins.attrNames made.users.groups;"
            " rules = made.systemd.tmpfiles.rules; }"
        )
        rules = [rule.split() for rule in known["rules"] if " /run/barnabee-tokens/" in rule]
        assert rules, host
        for _kind, _path, _mode, user, group, _age in rules:
            assert user in known["users"]
            assert group in known["groups"]
