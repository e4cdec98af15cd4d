from __future__ import annotations

import tomllib
from pathlib import Path

from barnabee.api.routes.status import make_public_system
from barnabee.core import system


def test_public_system_has_settings_but_no_credentials() -> None:
    public = make_public_system(system.load_system())
    text = system.find_system_file().read_text(encoding="utf-8")
    written = tomllib.loads(text)
    assert public["services"]["api"]["port"] == written["service"]["api"]["port"]
    assert public["stage_budgets_ms"]["first_audio"] == written["stage"]["first_audio_ms"]
    assert public["acceptance"] == written["acceptance"]
    assert public["filler"]["thinking"] == written["filler"]["thinking"]
    assert "credential" not in str(public)
    assert "api_token" not in str(public)


def test_route_modules_do_not_import_each_other() -> None:
    folder = Path(system.__file__).parents[1] / "api" / "routes"
    for module in folder.glob("*.py"):
        assert "barnabee.api.routes" not in module.read_text(encoding="utf-8"), module.name
