"""The worker: does what the API accepted but nobody waits for, and forgets what is too old.

python -m barnabee.workers                  how the house runs it
arq barnabee.workers.WorkerSettings         the same jobs, health and metrics under arq's program

jobs/      what is done, and how it is kept from being lost
loop       keeps arq's worker going while Redis comes and goes
probing    tries the voice path every now and then
app        puts the parts together; health and metrics over HTTP
standalone what `arq …` needs
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Make `WorkerSettings` when it is asked for, because that reads the environment."""
    if name == "WorkerSettings":
        from barnabee.workers.arq_entrypoint import worker_settings  # noqa: PLC0415 - see above

        return worker_settings()
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
