"""IP address restrictions: which units may connect beyond the private network."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from barnabee.core import system
from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
GRAPH = system.load_system(ROOT / "system.toml")
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


def test_only_the_proxy_and_webrtc_media_are_open_to_the_home_network() -> None:
    found = evaluate(
        """let
            core = hosts.hosts.barnabee-core.config;
            forwarded = hosts.hosts.beast.config.networking.nat.forwardPorts;
        in {
            public = core.barnabee.network.public;
            firewall = core.networking.firewall.allowedTCPPorts;
            gateway = map (one: one.sourcePort) forwarded;
        }"""
    )
    media = GRAPH.talk.media_port_first, GRAPH.talk.media_port_last
    assert found["public"] == {"tcp": [80, 443], "udp": [{"from": media[0], "to": media[1]}]}
    assert set(found["firewall"]) <= {22, 80, 443}
    assert set(found["gateway"]) == {80, 443, f"{media[0]}:{media[1]}"}


def test_the_wyoming_server_is_open_to_the_named_clients_only() -> None:
    found = evaluate(
        """let
            shared.barnabee = {
                network.addresses.home-assistant = "192.168.1.20";
                wyoming.clients = [ "home-assistant" ];
            };
            extend = host: (hosts.hosts.${host}.extendModules { modules = [ shared ]; }).config;
            describe = core: {
                rules = core.networking.firewall.extraInputRules;
                environment = core.systemd.services.barnabee-wyoming.environment;
                address = core.barnabee.network.addresses.barnabee-core;
            };
        in {
            closed = describe hosts.hosts.barnabee-core.config;
            open = describe (extend "barnabee-core");
            gateway = map (one: one.sourcePort) (extend "beast").networking.nat.forwardPorts;
        }"""
    )
    port = GRAPH.wyoming.port
    assert f"dport {port}" not in found["closed"]["rules"]
    assert "BARNABEE_WYOMING_BIND" not in found["closed"]["environment"]
    rule = f"ip saddr {{ 192.168.1.20 }} tcp dport {port} accept"
    assert rule in found["open"]["rules"].splitlines()
    assert found["open"]["environment"]["BARNABEE_WYOMING_BIND"] == found["open"]["address"]
    assert port in found["gateway"]


def test_services_behind_the_proxy_trust_the_address_that_it_connects_from() -> None:
    found = evaluate(
        """let
            core = hosts.hosts.barnabee-core.config;
            page = core.services.nginx.virtualHosts.${core.barnabee.proxy.hostName};
        in {
            trusted = core.systemd.services.barnabee-voice.environment.BARNABEE_TRUSTED_PROXIES;
            grafana = core.barnabee.network.addresses.barnabee-monitoring;
            upstream = map (one: one.proxyPass) (builtins.filter (one: one.proxyPass != null)
                (builtins.attrValues page.locations));
        }"""
    )
    upstream = {urlsplit(one).hostname for one in found["upstream"]}
    assert upstream == {found["trusted"], found["grafana"]}


@pytest.mark.parametrize("host", ["beast", "manofwar"])
def test_keepalived_never_gives_up(host: str) -> None:
    unit = evaluate(f'hosts.hosts.{host}.config.systemd.units."keepalived.service".text')
    assert "StartLimitIntervalSec=0" in unit.splitlines()


def test_grafana_is_reached_through_the_proxy_only() -> None:
    rules = evaluate(
        "hosts.hosts.barnabee-monitoring.config.networking.firewall.extraInputRules"
    ).splitlines()
    assert [rule for rule in rules if " 3000 " in rule] == [
        "ip saddr { 10.77.0.12 } tcp dport 3000 accept"
    ]


def test_monitoring_services_connect_to_the_private_network_only() -> None:
    names = " ".join(f'"{name}"' for name in MONITORING)
    found = find_restricted("barnabee-monitoring", f"builtins.elem name [ {names} ]")
    assert found == dict.fromkeys(MONITORING, True)
