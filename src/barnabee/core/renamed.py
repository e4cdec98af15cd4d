"""Renamed and removed names: the old ones are accepted for one release and warn once each.

The next release empties these tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

# Dotted paths; `*` matches any key. A renamed table comes before the keys in it.
RENAMED_SYSTEM_KEYS: Final[Mapping[str, str]] = {
    "card": "gpu",
    "session.turns_kept": "session.turns_max",
    "trouble.deaf": "trouble.stt_failed",
    "trouble.dumb_done": "trouble.tts_failed_done",
    "trouble.dumb_answer": "trouble.tts_failed_answer",
    "trouble.lost": "trouble.api_failed",
    "probe.every_without_card_s": "probe.every_without_gpu_s",
    "external.azure_openai": "external.llm",
    "external.*.words": "external.*.message",
    "external.*.away_most_s": "external.*.backoff_max_s",
    "logs.unsent_max_mib": "logs.loki_buffer_max_mib",
    "logs.unwritten_max_lines": "logs.output_buffer_max_lines",
}
REMOVED_SYSTEM_KEYS: Final = (
    "acceptance.detect_failure_s",
    "backup.cpu_percent",
    "backup.downloads_per_day",
    "backup.listings_per_day",
    "backup.recovery_recipient",
)
RENAMED_SETTINGS: Final[Mapping[str, str]] = {  # environment variables
    "AZURE_OPENAI_ENDPOINT": "LLM_URL",
    "AZURE_OPENAI_DEPLOYMENT": "LLM_MODEL",
    "AZURE_OPENAI_API_VERSION": "LLM_API_VERSION",
}
RENAMED_CREDENTIALS: Final[Mapping[str, str]] = {"azure_openai_key": "llm_api_key"}
RENAMED_ALERTS: Final[Mapping[str, str]] = {
    "CertificateEnding": "CertificateExpiring",
    "DiskFilling": "DiskSpaceLow",
    "DoorClosed": "ProxyDown",
    "ExternalAway": "ExternalServiceDown",
    "JobsSetAside": "JobsDeadLettered",
    "RedisAway": "RedisDown",
}

_warned: set[tuple[str, str]] = set()


def warn_renamed(kind: str, old: str, new: str) -> None:
    """Write one warning per `kind` and old name to standard error."""
    what = f"is now called `{new}`; the old name stops working with the next release"
    _warn(kind, old, what)


def _warn(kind: str, old: str, what: str) -> None:
    if (kind, old) not in _warned:
        _warned.add((kind, old))
        sys.stderr.write(f"warning: {kind} `{old}` {what}\n")


def accept_old_system_keys(data: dict[str, Any]) -> None:
    """Rename renamed keys in the parsed system file `data` and delete removed ones, in place.

    A key whose new name is present too stays as it is; the schema then refuses it.
    """
    for old, new in RENAMED_SYSTEM_KEYS.items():
        *parents, old_key = old.split(".")
        new_key = new.rpartition(".")[2]
        for table in _tables_at(data, parents):
            if old_key in table and new_key not in table:
                table[new_key] = table.pop(old_key)
                warn_renamed("system.toml key", old, new)
    for old in REMOVED_SYSTEM_KEYS:
        *parents, old_key = old.split(".")
        for table in _tables_at(data, parents):
            if table.pop(old_key, None) is not None:
                _warn("system.toml key", old, "is ignored; the next release refuses it")


def _tables_at(table: object, path: list[str]) -> Iterator[dict[str, Any]]:
    if not isinstance(table, dict):
        return
    if not path:
        yield table
        return
    first, *rest = path
    for key in list(table) if first == "*" else [first]:
        yield from _tables_at(table.get(key), rest)
