"""What the assistant does by itself: one skill a module, its sentences as data, its handlers."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from barnabee.understanding.skill import Skill


def load_skills() -> tuple[Skill, ...]:
    """Return `SKILL` of each module of this package, by the modules' names.

    A module without `SKILL` holds what several skills share.
    """
    modules = [
        import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)
    ]
    return tuple(module.SKILL for module in modules if hasattr(module, "SKILL"))
