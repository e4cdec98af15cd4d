"""The generations of a profile: links `system-<number>-link` beside it."""

from __future__ import annotations

import re
from pathlib import Path

from barnabee.deploy.errors import DeployRefused


def every(profile: Path) -> dict[int, Path]:
    """Return the generations that are there, oldest first."""
    pattern = re.compile(rf"{re.escape(profile.name)}-(\d+)-link")
    found = {}
    for link in profile.parent.glob(f"{profile.name}-*-link"):
        match = pattern.fullmatch(link.name)
        if match and link.exists():
            found[int(match[1])] = link.resolve()
    return dict(sorted(found.items()))


def number_of(profile: Path, system: Path) -> int | None:
    """Return the newest generation that is `system`."""
    numbers = [number for number, one in every(profile).items() if one == system]
    return numbers[-1] if numbers else None


def chosen(profile: Path, running: Path, wanted: int | None, last_kept: Path | None) -> Path:
    """Return the generation with a number, or the one to go back to when none is named.

    That is the newest before the profile's own; of a machine that runs something else than its
    profile, the profile; in front of both what was last found well. DeployRefused without any.
    """
    found = every(profile)
    if wanted is not None:
        if wanted not in found:
            known = ", ".join(map(str, found)) or "none"
            raise DeployRefused(reason=f"there is no generation {wanted}; there are {known}")
        return found[wanted]
    if last_kept is not None and last_kept != running:
        return last_kept
    older = [one for one in found.values() if one != running]
    now = number_of(profile, running)
    before = [one for number, one in found.items() if now and number < now and one != running]
    if not (before or older):
        raise DeployRefused(reason="there is no other generation to go back to")
    return (before or older)[-1]
