"""TypeScript types of the api: generates src/dashboard/api/types.ts from its OpenAPI document.

`--check` compares instead and fails when the file differs; a test runs it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src" / "dashboard" / "api" / "types.ts"
HEAD = (
    "// Written by scripts/api_types.py out of the api's OpenAPI document. Do not edit:\n"
    "// change the shapes in src/barnabee/api and run the script.\n"
)
# Types that only services send, and FastAPI's own error types, which no response has.
LEFT_OUT = frozenset({"HTTPValidationError", "ValidationError"})
PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}


def render_types(document: Mapping[str, Any]) -> str:
    """Return the TypeScript of every schema, by name. Pure."""
    schemas = document["components"]["schemas"]
    parts = [_declared(name, schemas[name]) for name in sorted(schemas) if name not in LEFT_OUT]
    return HEAD + "\n" + "\n".join(parts)


def _declared(name: str, schema: Mapping[str, Any]) -> str:
    words = " ".join(str(schema.get("description", "")).split())
    comment = f"/** {words} */\n" if words else ""
    if "properties" not in schema:
        return f"{comment}export type {name} = {_type(schema)};\n"
    required = set(schema.get("required", ()))
    fields = "".join(
        f"  {key}{'' if key in required else '?'}: {_type(one)};\n"
        for key, one in schema["properties"].items()
    )
    return f"{comment}export interface {name} {{\n{fields}}}\n"


def _type(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"$ref": str(name)}:
            found = name.rpartition("/")[2]
        case {"enum": list(values)}:
            found = " | ".join(f'"{one}"' for one in values)
        case {"const": value}:
            found = f'"{value}"'
        case {"anyOf": list(kinds)}:
            found = " | ".join(_type(one) for one in kinds)
        case {"type": "null"}:
            found = "null"
        case {"type": "array"}:
            found = f"Array<{_type(schema.get('items', {}))}>"
        case {"type": "object"}:
            more = schema.get("additionalProperties", {})
            found = f"Record<string, {_type(more) if isinstance(more, dict) else 'unknown'}>"
        case _:
            found = PLAIN.get(str(schema.get("type")), "unknown")
    return found


def main() -> int:
    """Write the file, or compare it."""
    sys.path.insert(0, str(ROOT / "src"))
    from barnabee.api.app import make_documented_app  # noqa: PLC0415 - needs the path above

    wanted = render_types(make_documented_app().openapi())
    if "--check" not in sys.argv[1:]:
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_text(wanted, encoding="utf-8")
        return 0
    if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != wanted:
        print(f"{TARGET.relative_to(ROOT)} is not what the api says: run scripts/api_types.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
