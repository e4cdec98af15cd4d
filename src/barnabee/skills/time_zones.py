"""Time zones by the names of cities and countries."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from barnabee.understanding.names import fold_name

_REGIONS = (
    *("Europe", "America", "Asia", "Africa", "Australia", "Pacific", "Atlantic", "Indian"),
    *("America/Argentina", "America/Indiana", "America/Kentucky"),
)
_PLACE = re.compile(r"[a-z][a-z ]{1,40}")


def find_zone(place: str) -> ZoneInfo | None:
    """Return the time zone of `place`, None if it is unknown or has several."""
    name = fold_name(place)
    zone = _read_places()[0].get(name)
    if zone is not None:
        return ZoneInfo(zone)
    if not _PLACE.fullmatch(name):
        return None
    city = name.title().replace(" ", "_")
    zones = (_load_zone(f"{region}/{city}") for region in _REGIONS)
    return next((zone for zone in zones if zone is not None), None)


def has_several_zones(place: str) -> bool:
    """Return whether `place` is a country with several time zones."""
    return fold_name(place) in _read_places()[1]


@cache
def _read_places() -> tuple[dict[str, str], frozenset[str]]:
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    places = tomllib.loads(text)
    zones = {fold_name(name): zone for zone, names in places["zone"].items() for name in names}
    return zones, frozenset(map(fold_name, places["several"]["names"]))


def _load_zone(key: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
