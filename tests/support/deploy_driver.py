"""A process that switches a machine of real scripts and may kill itself at any of its acts.

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
from barnabee.deploy import gate, switch, switch_recovery
from barnabee.deploy.journal import Journal, Record
from barnabee.deploy.nixos import NixosMachine
from barnabee.deploy.plan import Order

ACTS = (
    *("hold", "pin", "restore", "start_house", "activate", "check"),
    *("boot_by_default", "boot_once", "arm", "disarm"),
)


class Death:
    """Counts the moments before and after each act; at one of them it is `kill -9`."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.moments = 0

    def moment(self) -> None:
        self.moments += 1
        if self.moments == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            self.moment()
            done = act(*given, **named)
            self.moment()
            return done

        return wrapped


class MortalMachine(NixosMachine):
    """The real machine; `kill -9` may come between."""

    death: Death

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self.death.around(found) if name in ACTS else found


class MortalJournal(Journal):
    """The real journal; `kill -9` may come between."""

    def __init__(self, directory: Path, death: Death) -> None:
        super().__init__(directory)
        self.death = death

    def write(self, record: Record) -> Record:
        self.death.moment()
        super().write(record)
        self.death.moment()
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
    logging.configure("deploy")
    MortalMachine.death = death = Death(given.kill_at)
    machine = MortalMachine(given.root)
    journal = MortalJournal(given.root / "deploys", death)
    if given.what == "run":
        order = Order(given.target, given.kind, with_data=given.with_data)
        switch.run(machine, journal, order, "switch-1")
    elif given.what == "watch":
        switch_recovery.tick(machine, journal)
    else:
        gate.pass_through(machine, journal)
    sys.stdout.write(f"moments {death.moments}\n")


if __name__ == "__main__":
    main()
