# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of network.nix
"""Script of the check network; the open ports are computed from the graph."""

import re

RESOLVER = {53, 5355}


def scan_ports(scanner: Any, target: str) -> set[int]:
    """Return all open TCP ports of `target`, scanned from `scanner`."""
    scan = f"nmap -n -Pn -sS -p- --min-rate 5000 --open -oG - {ADDRESS[target]}"
    output = scanner.succeed(scan, timeout=300)
    return {int(port) for port in re.findall(r"(\d+)/open/tcp", output)}


def listening_ports(machine: Any) -> set[int]:
    """Return the TCP ports with a listener, except on loopback."""
    addresses = [line.split()[3] for line in machine.succeed("ss -Hltn").splitlines()]
    return {
        int(address.rsplit(":", 1)[1])
        for address in addresses
        if not address.startswith(("127.", "[::1]", "[::ffff:127."))
    }


by_name = {"core": core, "gpu": gpu, "backup": backup}
start_services()

with subtest("only services of the graph listen"):
    for name in ("core", "gpu"):
        extra = listening_ports(by_name[name]) - set(SERVED[name]) - RESOLVER
        assert not extra, f"{name} listens on {sorted(extra)}, which the graph does not have"

with subtest("only the declared ports are open, from an unknown host and from the others"):
    found = {
        (target, scanner): scan_ports(by_name[scanner], target)
        for target, scanners in DECLARED.items()
        for scanner in scanners
    }
    for (target, scanner), ports in found.items():
        extra = ports - set(DECLARED[target][scanner])
        assert not extra, f"{scanner} reaches {sorted(extra)} of {target}"

with subtest("the ports that must be open are open"):
    assert PORT["gpu"] in found["gpu", "core"]
    assert {80, 443} <= found["core", "backup"]

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
