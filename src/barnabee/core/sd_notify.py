"""Notifications to systemd (sd_notify(3)); no effect without `$NOTIFY_SOCKET`."""

from __future__ import annotations

import socket

from barnabee.core.settings import read_variable


def notify(*lines: str) -> bool:
    """Send `lines`, for example "READY=1"; return whether there is a notification socket."""
    address = read_variable("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto("\n".join(lines).encode(), address)
    return True


def watchdog_interval_s() -> float | None:
    """Return half of systemd's watchdog timeout, or None without a watchdog."""
    value = read_variable("WATCHDOG_USEC")
    return int(value) / 2_000_000 if value.isdecimal() and int(value) > 0 else None
