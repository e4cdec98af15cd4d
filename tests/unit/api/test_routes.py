from __future__ import annotations

import tomllib
from pathlib import Path

from barnabee.api.routes.status import make_public_system
from barnabee.core import system


def test_the_public_graph_has_what_a_dashboard_needs_and_no_credential() -> None:
    shown = make_public_system(system.load_system())
    text = system.find_system_file().read_text(encoding="utf-8")
    written = tomllib.loads(text)
    assert shown["services"]["api"]["port"] == written["service"]["api"]["port"]
    assert shown["stage_budgets_ms"]["first_audio"] == written["stage"]["first_audio_ms"]
    assert shown["acceptance"] == written["acceptance"]
    assert shown["filler"]["thinking"] == written["filler"]["thinking"]
    assert "credential" not in str(shown)
    assert "api_token" not in str(shown)


def test_no_route_module_knows_another() -> None:
    folder = Path(system.__file__).parents[1] / "api" / "routes"
    for module in folder.glob("*.py"):
        assert "barnabee.api.routes" not in module.read_text(encoding="utf-8"), module.name
