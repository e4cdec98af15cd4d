"""IP address restrictions: which units may connect beyond the private network."""

from __future__ import annotations

import pytest

from support.nix import evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
# Units without restriction, and why.
UNRESTRICTED = {
    "barnabee-core": {
        "barnabee-accept",  # asks Home Assistant for the test alert
        "barnabee-api",  # Home Assistant, Azure OpenAI, health checks of external services
        # the replica and its lease
        *("barnabee-litestream", "barnabee-restore", "barnabee-follow", "barnabee-lease"),
        *("barnabee-pin", "barnabee-rollback-data@", "barnabee-drill"),
        "barnabee-voice",  # WebRTC media
    },
    "barnabee-gpu": set[str](),
    "barnabee-monitoring": set[str](),
}
MONITORING = ("prometheus", "loki", "grafana", "alloy")


def find_restricted(host: str, names: str) -> dict[str, bool]:
    """Return, by unit, whether it may connect to the private network only."""
    return dict(
        evaluate(
            f"""let units = hosts.hosts."{host}".config.systemd.services; in
            builtins.mapAttrs (_: unit: (unit.serviceConfig.IPAddressDeny or null) == "any")
            (builtins.listToAttrs (map (name: {{ inherit name; value = units.${{name}}; }})
            (builtins.filter (name: {names}) (builtins.attrNames units))))"""
        )
    )


@pytest.mark.parametrize("host", UNRESTRICTED)
def test_only_units_that_need_it_connect_beyond_the_private_network(host: str) -> None:
    found = find_restricted(host, 'builtins.match "barnabee-.*" name != null')
    assert {name for name, restricted in found.items() if not restricted} == UNRESTRICTED[host]


def test_monitoring_services_connect_to_the_private_network_only() -> None:
    names = " ".join(f'"{name}"' for name in MONITORING)
    found = find_restricted("barnabee-monitoring", f"builtins.elem name [ {names} ]")
    assert found == dict.fromkeys(MONITORING, True)
