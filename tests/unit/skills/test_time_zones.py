"""Time zones by name."""

from __future__ import annotations

import pytest

from barnabee.skills.time_zones import find_zone, has_several_zones


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("London", "Europe/London"),
        ("new york", "America/New_York"),
        ("the Netherlands", "Europe/Amsterdam"),
        ("São Paulo", "America/Sao_Paulo"),
        ("Mumbai", "Asia/Kolkata"),
        ("Kyiv", "Europe/Kyiv"),
        ("San Francisco", "America/Los_Angeles"),
        ("Honolulu", "Pacific/Honolulu"),
        ("Atlantis", None),
        ("../../etc/passwd", None),
        ("", None),
    ],
)
def test_cities_and_countries_have_a_zone(place: str, zone: str | None) -> None:
    found = find_zone(place)
    assert (found.key if found else None) == zone


def test_a_large_country_has_several() -> None:
    assert has_several_zones("the USA")
    assert find_zone("the USA") is None
    assert not has_several_zones("France")
