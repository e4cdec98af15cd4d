"""The services that commands use, and the clock of the home."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from barnabee.core.errors import SettingInvalid
from barnabee.core.schema import RoutineConfig
from barnabee.skills import load_skills
from barnabee.skills.routines import make_routine_skill
from barnabee.understanding.command_services import CommandServices
from barnabee.understanding.home_controller import HomeController
from barnabee.understanding.interfaces import HomeControl
from barnabee.understanding.sentence_matcher import SentenceMatcher
from barnabee.understanding.skill import Skill
from barnabee.understanding.tool_runner import HomeSentences, make_confirmation_skill

log = structlog.get_logger()


def make_skills(
    routines: Mapping[str, RoutineConfig], home_controller: HomeSentences | None
) -> tuple[Skill, ...]:
    """Return all skills: the family's routines first, because they may take any sentence."""
    own = (make_routine_skill(routines),) if routines else ()
    skills = (*own, *load_skills())
    return (*skills, make_confirmation_skill(skills, home_controller))


def make_command_services(
    routines: Mapping[str, RoutineConfig], *, home: HomeControl | None, **services: Any
) -> CommandServices:
    """Return the services of commands; `services` are fields of `CommandServices`."""
    home_controller = HomeController(home) if home is not None else None
    skills = make_skills(routines, home_controller)
    return CommandServices(
        skills=skills,
        matcher=SentenceMatcher(skills),
        home=home,
        home_controller=home_controller,
        **services,
    )


class HomeClock:
    """Clock in the time zone of the home: Home Assistant's, else the configured or the machine's.

    Logs one warning if they differ.
    """

    def __init__(
        self, time_zone: str, now: Callable[[], datetime] = lambda: datetime.now().astimezone()
    ) -> None:
        """`time_zone` is the configured one, "" for the machine's; SettingInvalid if unknown."""
        self._own = _read_time_zone(time_zone) if time_zone else None
        self._now = now
        self._has_warned = False

    def __call__(self, home_time_zone: str | None = None) -> datetime:
        now = self._now() if self._own is None else self._now().astimezone(self._own)
        if home_time_zone is None:
            return now
        try:
            at_home = now.astimezone(ZoneInfo(home_time_zone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._warn(home_time_zone, "it is unknown on this machine")
            return now
        if at_home.utcoffset() != now.utcoffset():
            self._warn(home_time_zone, f"here it is {now:%H:%M}, at home {at_home:%H:%M}")
        return at_home

    def _warn(self, home_time_zone: str, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "time_zone_of_the_home", code="setting_invalid", zone=home_time_zone, reason=reason
            )


def _read_time_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingInvalid(
            name="BARNABEE_TIME_ZONE",
            reason=f"it is {name!r}",
            hint="write a name like Europe/Berlin",
        ) from error
