# ruff: noqa: F821 - the names are those of the NixOS test driver and of network.nix
"""The script of the VM test network; what may be reached is computed from the graph."""

import re
from typing import Any

machines = {"core": core, "gpu": gpu, "backup": backup}


def open_ports(scanner: Any, target: str) -> set[int]:
    """Return the TCP ports of `target` that answer `scanner`, of all there are."""
    scan = f"nmap -n -Pn -sS -p- --min-rate 5000 --open -oG - {target}"
    said = scanner.succeed(scan, timeout=300)
    return {int(port) for port in re.findall(r"(\d+)/open/tcp", said)}


def listening(machine: Any) -> set[int]:
    """Return the TCP ports that somebody listens on, elsewhere than on loopback."""
    said = machine.succeed("ss -Hltn")
    addresses = [line.split()[3] for line in said.splitlines()]
    return {
        int(one.rsplit(":", 1)[1])
        for one in addresses
        if not one.startswith(("127.", "[::1]", "[::ffff:127."))
    }


start_all()
core.wait_for_unit("barnabee-healthy.target", timeout=HEALTHY_S + 60)

with subtest("who listens is in the graph"):
    for name in ("core", "gpu"):
        extra = listening(machines[name]) - set(SERVED[name]) - {53, 9100, 5355}
        assert not extra, f"{name} listens on {sorted(extra)}, which is no service of the graph"

with subtest("only the declared ports answer, from a stranger and from the others"):
    for target, scanners in DECLARED.items():
        for scanner, ports in scanners.items():
            found = open_ports(machines[scanner], target)
            assert found <= set(ports), f"{scanner} reaches {sorted(found)} of {target}"

with subtest("and those that must answer do, or nothing was scanned"):
    assert ANYBODY in open_ports(backup, "core")
    assert GPU in open_ports(core, "gpu")
    assert GPU not in open_ports(backup, "gpu")
