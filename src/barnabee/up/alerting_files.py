"""Files of Prometheus and Alertmanager for a NixOS host, written when its system is built.

nixos/modules/observe/alerting.nix runs it: SYSTEM TEMPLATE CHANNELS DIRECTORY.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from barnabee.core.system import load_system
from barnabee.up.monitoring_config import make_alertmanager_config, make_limit_rules


def write_alerting_files(system: Path, template: Path, channels: Path, directory: Path) -> None:
    """Write `limits.json`, rules of Prometheus, and `alertmanager.json` into `directory`."""
    loaded = load_system(system)
    files = {
        "limits.json": make_limit_rules(loaded),
        "alertmanager.json": make_alertmanager_config(
            json.loads(template.read_text("utf-8")), loaded, json.loads(channels.read_text("utf-8"))
        ),
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    write_alerting_files(*map(Path, sys.argv[1:]))
