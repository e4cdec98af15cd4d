"""Files that a NixOS host gets from the package when its system is built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from barnabee.core import system
from barnabee.up import monitoring_config, monitoring_services


def test_files_have_the_limits_of_the_given_system(
    tmp_path: Path,
) -> None:
    text = system.find_system_file().read_text(encoding="utf-8")
    changed = tmp_path / "system.toml"
    changed.write_text(text.replace("quiet_from_h = 22", "quiet_from_h = 21"), encoding="utf-8")
    channels = {"webhook_file": "/run/credentials/alertmanager.service/home_assistant_webhook"}
    (tmp_path / "channels").write_text(json.dumps(channels), encoding="utf-8")
    template = monitoring_services.monitoring_directory() / "alertmanager.json"
    arguments = [changed, template, tmp_path / "channels", tmp_path]
    # As in a build: no home, no settings.
    subprocess.run(
        [sys.executable, "-m", "barnabee.up.alerting_files", *map(str, arguments)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/homeless-shelter"},
        check=True,
    )
    graph = system.load_system(changed)
    assert graph.alert.quiet_from_h == 21
    written = {
        name: json.loads((tmp_path / name).read_text())
        for name in ("limits.json", "alertmanager.json")
    }
    assert written["limits.json"] == monitoring_config.make_limit_rules(graph)
    config = written["alertmanager.json"]
    assert config["receivers"][0]["webhook_configs"] == [
        {"url_file": channels["webhook_file"], "send_resolved": True}
    ]
    assert config["time_intervals"][0]["time_intervals"][0]["times"][0]["start_time"] == "21:00"
