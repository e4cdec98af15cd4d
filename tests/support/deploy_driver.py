"""Process that runs a switch on a scripted machine and can kill itself at any operation.

usage: deploy_driver.py ROOT run|watch|gate [--target DIR] [--kill-at N] [--with-data] [--kind KIND]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from barnabee.core import logging
from barnabee.deploy import gate, switch
from barnabee.deploy.journal import SwitchJournal, SwitchRecord
from barnabee.deploy.nixos import NixosMachine
from barnabee.deploy.plan import SwitchRequest

OPERATIONS = (
    *("protect_from_gc", "pin_database", "restore_database", "start_services"),
    *("activate", "run_check"),
    *("set_boot_default", "set_boot_once", "arm_watchdog", "disarm_watchdog"),
)


class KillSwitch:
    """Counts the points before and after each operation; kills the process at one of them."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.points = 0

    def pass_point(self) -> None:
        self.points += 1
        if self.points == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            self.pass_point()
            done = operation(*given, **named)
            self.pass_point()
            return done

        return wrapped


class KillableMachine(NixosMachine):
    """NixOS machine that may be killed at any operation."""

    kill_switch: KillSwitch

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self.kill_switch.wrap(found) if name in OPERATIONS else found


class KillableJournal(SwitchJournal):
    """Journal that may be killed at any write."""

    def __init__(self, directory: Path, kill_switch: KillSwitch) -> None:
        super().__init__(directory)
        self.kill_switch = kill_switch

    def write(self, record: SwitchRecord) -> SwitchRecord:
        self.kill_switch.pass_point()
        super().write(record)
        self.kill_switch.pass_point()
        return record


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("what")
    parser.add_argument("--target", type=Path)
    parser.add_argument("--kind", default="switch")
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--with-data", action="store_true")
    given = parser.parse_args()
    logging.configure_logging("deploy")
    KillableMachine.kill_switch = kill_switch = KillSwitch(given.kill_at)
    machine = KillableMachine(given.root)
    journal = KillableJournal(given.root / "deploys", kill_switch)
    if given.what == "run":
        request = SwitchRequest(given.target, given.kind, with_data=given.with_data)
        switch.run_switch(machine, journal, request, "switch-1")
    elif given.what == "watch":
        gate.recover_switch(machine, journal)
    else:
        gate.run_gate(machine, journal)
    sys.stdout.write(f"moments {kill_switch.points}\n")


if __name__ == "__main__":
    main()
