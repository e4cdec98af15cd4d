"""What this service depends on: an engine for each task, and somebody who looks after the card.

Each task alone is soft: a house that cannot speak can still be told in writing to switch a light,
and one that cannot embed can still hear. What is hard is that starting is over, that at least one
engine works, and that nothing hangs: an inference over its limit, or a manager that no longer
looks, makes the service unhealthy at once, because everything else may soon wait behind it.
"""

from __future__ import annotations

from typing import Any

from barnabee.core.errors import Loading
from barnabee.core.health import Check, Degraded
from barnabee.gpu.capabilities import Task, Tasks
from barnabee.gpu.model_runtime import State


def checks(tasks: Tasks) -> list[Check]:
    """Return the checks of this service."""

    def one(task: Task[Any]) -> Check:
        async def probe() -> Degraded | None:
            trouble = tasks.manager.view.trouble
            if trouble and task.first.state is State.ABSENT:  # it waits for the card, not for files
                raise trouble
            return task.health()

        return Check(task.name, probe, hard=False)

    async def engines() -> Degraded | None:
        first = [task.first for task in tasks.all()]
        untried = [slot.model for slot in first if not tasks.manager.was_tried(slot.name)]
        if untried:
            raise Loading(what=", ".join(untried))
        error = tasks.none_works()
        if error:
            raise error
        return None

    async def card() -> Degraded | None:
        tasks.manager.check()
        return None

    return [
        *(one(task) for task in tasks.all()),
        Check("engines", engines, hard=True),
        Check("card", card, hard=True),
    ]
