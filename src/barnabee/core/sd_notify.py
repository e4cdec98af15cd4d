"""Tells systemd how the service is (sd_notify(3)); silent when nobody listens."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send `lines` (for example "READY=1") to `$NOTIFY_SOCKET`; return whether anybody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto("\n".join(lines).encode(), address)
    return True


def watchdog_interval_s() -> float | None:
    """Return half of systemd's watchdog time in seconds, or None when there is none."""
    value = os.environ.get("WATCHDOG_USEC", "")
    return int(value) / 2_000_000 if value.isdecimal() and int(value) > 0 else None
