"""A guest whose secrets are missing waits and says so; it starts when they come.

Under a real systemd, with the units that NixOS renders for beast; a script is the container.
"""

from __future__ import annotations

import json
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import rendered_units
from support.nix import ROOT, evaluate, needs_nixpkgs
from support.systemd_container import Container, needs_container

pytestmark = [needs_nixpkgs, needs_container, pytest.mark.alone, pytest.mark.timeout(420)]
GUEST, WAITER = "container@barnabee-core.service", "barnabee-secrets.service"
WITHIN_S = 120
BEAST = f"""let
  r = hosts.report "beast" {{ }};
  inherit (hosts.hosts.beast) config;
in
{{
  units."{WAITER}" = r.units."{WAITER}";
  wantedBy."{WAITER}" = r.wantedBy."{WAITER}";
  folders = [ ];
  guest = config.systemd.units."{GUEST}".text;
  secrets = config.environment.etc."barnabee/secrets.json".text;
}}"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Container]:
    beast: Any = evaluate(BEAST)
    binds = {
        Path(sys.base_prefix): rendered_units.PYTHON,
        Path(sysconfig.get_path("purelib")): rendered_units.PACKAGES,
        ROOT / "src": rendered_units.SOURCE,
    }
    found = Container(tmp_path, binds=binds)
    try:
        found.prepare()
        rendered_units.install_units(found, beast)
        program = re.search(r"/nix/store/\S+/bin/barnabee", beast["units"][WAITER])
        assert program
        found.link("/usr/local/bin/barnabee", program[0])
        conditions = re.findall(r"^ConditionPathExists=.*$", beast["guest"], re.MULTILINE)
        script = "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n"
        found.write(f"/etc/systemd/system/{GUEST}", "\n".join(["[Unit]", *conditions, script]))
        found.link(f"/etc/systemd/system/proof.target.wants/{GUEST}", f"../{GUEST}")
        found.write("/etc/barnabee/secrets.json", beast["secrets"])
        secrets = json.loads(beast["secrets"])
        for other in [*secrets["guests"], *secrets["failing"]]:
            if other != GUEST:
                stand_in = script if other.endswith(".service") else ""
                found.write(f"/etc/systemd/system/{other}", f"[Unit]\n{stand_in}")
        found.start()
        yield found
    finally:
        found.stop()


def test_a_guest_waits_for_its_secrets_and_starts_when_they_come(machine: Container) -> None:
    names = list(json.loads((machine.root / "etc/barnabee/secrets.json").read_text())["files"])

    def names_a_file() -> bool:
        status = machine.run("systemctl", "status", "--no-pager", GUEST).stdout
        return "ConditionPathExists=/var/lib/barnabee-secrets/" in status

    assert machine.wait_until(names_a_file, WITHIN_S) is not None, machine.journal(GUEST)
    assert machine.show(GUEST, "ActiveState") == "inactive"

    def waits() -> bool:
        return "Missing secrets: " in machine.show(WAITER, "StatusText")

    assert machine.wait_until(waits, WITHIN_S) is not None, machine.journal(WAITER)
    text = machine.show(WAITER, "StatusText")
    assert f"{GUEST} waits for " in text
    assert "Run `barnabee secrets add`" in text
    assert "Missing secrets: " in machine.journal(WAITER)

    for name in names:
        machine.write(f"/given/{name}", "a value")
    done = machine.run("/usr/local/bin/barnabee", "secrets", "add", "--from", "/given")
    assert done.returncode == 0, done.stderr
    started = machine.wait_until(lambda: machine.is_active(GUEST), WITHIN_S)
    assert started is not None, machine.journal(WAITER)
    ended = machine.wait_until(lambda: machine.show(WAITER, "ActiveState") == "inactive", WITHIN_S)
    assert ended is not None, machine.journal(WAITER)
    # What failed for want of secrets is started again.
    assert machine.is_active("barnabee-boot-gate.service")
    mode = machine.run("stat", "-c", "%a %U", f"/var/lib/barnabee-secrets/{names[0]}").stdout
    assert mode == "400 root\n"
