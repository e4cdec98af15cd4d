"""Writes nixos/lib/system.schema.json: the tables of `system.toml` for the NixOS modules.

core/schema says what every key must be; the modules make typed options out of this file, so that
the two can never differ. A test fails when it is not what this script would write.
"""

from __future__ import annotations

import json
from pathlib import Path

from barnabee.core.schema import System

TARGET = Path(__file__).resolve().parents[1] / "nixos/lib/system.schema.json"


def text() -> str:
    """Return the content of the file."""
    return json.dumps(System.model_json_schema(by_alias=True), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
