"""Pipecat's log lines, which it writes with loguru, as lines of ours: warnings and worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from loguru import logger

if TYPE_CHECKING:
    from loguru import Message

LEVEL = "WARNING"
# What it warns of at every WebRTC connection: there is no video, and the browser hangs up.
EXPECTED = ("No video transceiver", "No screen video transceiver", "Media stream error while")

log = structlog.get_logger()


def adopt() -> None:
    """Send what Pipecat has to say through structlog, and nothing anywhere else."""
    logger.remove()
    logger.add(_write, level=LEVEL, format="{message}", backtrace=False, diagnose=False)


def _write(message: Message) -> None:
    record: dict[str, Any] = dict(message.record)
    if record["message"].startswith(EXPECTED):
        return
    fields = {"logger": record["name"], "stage": "pipecat"}
    if record["exception"]:
        fields["exception"] = repr(record["exception"].value)
    say = log.error if record["level"].no >= logger.level("ERROR").no else log.warning
    say(str(record["message"])[:500], **fields)
