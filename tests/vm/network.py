# ruff: noqa: F821 - the names are those of the NixOS test driver and of network.nix
"""Script of the VM test network; the open ports are computed from the graph."""

import re
from typing import Any

machines = {"core": core, "gpu": gpu, "backup": backup}


def scan_ports(scanner: Any, target: str) -> set[int]:
    """Return all open TCP ports of `target`, scanned from `scanner`."""
    scan = f"nmap -n -Pn -sS -p- --min-rate 5000 --open -oG - {target}"
    output = scanner.succeed(scan, timeout=300)
    return {int(port) for port in re.findall(r"(\d+)/open/tcp", output)}


def listening_ports(machine: Any) -> set[int]:
    """Return the TCP ports with a listener, except on loopback."""
    output = machine.succeed("ss -Hltn")
    addresses = [line.split()[3] for line in output.splitlines()]
    return {
        int(address.rsplit(":", 1)[1])
        for address in addresses
        if not address.startswith(("127.", "[::1]", "[::ffff:127."))
    }


start_all()
core.wait_for_unit("barnabee-healthy.target", timeout=HEALTHY_S + 60)

with subtest("only services of the graph listen"):
    for name in ("core", "gpu"):
        extra = listening_ports(machines[name]) - set(SERVED[name]) - {53, 5355}
        assert not extra, f"{name} listens on {sorted(extra)}, which the graph does not have"

with subtest("only the declared ports are open, from an unknown host and from the others"):
    for target, scanners in DECLARED.items():
        for scanner, ports in scanners.items():
            found = scan_ports(machines[scanner], target)
            assert found <= set(ports), f"{scanner} reaches {sorted(found)} of {target}"

with subtest("the ports that must be open are open"):
    assert GPU_PORT in scan_ports(core, "gpu")
    assert GPU_PORT not in scan_ports(backup, "gpu")
