"""Whose database is meant: that of the service that runs the command, or of `./barnabee up`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barnabee.core.settings import Settings


def of_a_service() -> bool:
    """Return whether systemd or the runner started this, so that the environment says all."""
    return bool(os.environ.get("CREDENTIALS_DIRECTORY") or os.environ.get("DATABASE_PATH"))


def chosen_settings() -> Settings:
    """Return the settings of whoever asks; of the local house when it is a person."""
    from barnabee.core import settings, system

    if of_a_service():
        return settings.load(system.load())
    from barnabee.up import house as houses
    from barnabee.up import services

    told = services.settings_for(houses.local())
    return settings.Settings.model_validate(told)
