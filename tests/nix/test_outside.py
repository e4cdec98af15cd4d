"""Who may reach outside of the house, and who may not: by the units' own words."""

from __future__ import annotations

import pytest

from support.nix import evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
# Why each of them may:
OUTWARD = {
    "barnabee-core": {
        "barnabee-accept",  # asks Home Assistant whether the test alert came
        "barnabee-api",  # Home Assistant, Azure OpenAI, and whether mail and messages are there
        # the replica, read, written or held
        *("barnabee-litestream", "barnabee-restore", "barnabee-follow", "barnabee-lease"),
        *("barnabee-pin", "barnabee-rollback-data@", "barnabee-drill"),
        "barnabee-voice",  # media goes to wherever the microphone is
    },
    "barnabee-gpu": set[str](),
    "barnabee-monitoring": set[str](),
}
WATCHERS = ("prometheus", "loki", "grafana", "alloy")


def denied(host: str, names: str) -> dict[str, bool]:
    """Return by name whether a unit may talk to the house alone."""
    return dict(
        evaluate(
            f"""let units = hosts.hosts."{host}".config.systemd.services; in
            builtins.mapAttrs (_: unit: (unit.serviceConfig.IPAddressDeny or null) == "any")
            (builtins.listToAttrs (map (name: {{ inherit name; value = units.${{name}}; }})
            (builtins.filter (name: {names}) (builtins.attrNames units))))"""
        )
    )


@pytest.mark.parametrize("host", OUTWARD)
def test_of_our_units_only_those_with_business_outside_reach_it(host: str) -> None:
    found = denied(host, 'builtins.match "barnabee-.*" name != null')
    assert {name for name, inside in found.items() if not inside} == OUTWARD[host]


def test_the_observers_stay_inside_but_for_the_one_that_sends() -> None:
    names = " ".join(f'"{name}"' for name in WATCHERS)
    found = denied("barnabee-monitoring", f"builtins.elem name [ {names} ]")
    assert found == dict.fromkeys(WATCHERS, True)
