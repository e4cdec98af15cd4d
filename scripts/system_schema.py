"""JSON Schema of `system.toml`: generates nixos/lib/system.schema.json for the NixOS modules.

The modules make typed options from the schema of core/schema. A test fails when the file differs.
"""

from __future__ import annotations

import json
from pathlib import Path

from barnabee.core.schema import System

TARGET = Path(__file__).resolve().parents[1] / "nixos/lib/system.schema.json"


def render_schema() -> str:
    """Return the content of the file."""
    return json.dumps(System.model_json_schema(by_alias=True), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render_schema(), encoding="utf-8")
