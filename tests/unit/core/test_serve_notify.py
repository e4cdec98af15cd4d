"""Notifications to systemd."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from barnabee.core import serve


def test_systemd_receives_the_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        assert serve.notify("READY=1", "STATUS=healthy")
        assert systemd.recv(100) == b"READY=1\nSTATUS=healthy"


def test_without_a_socket_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not serve.notify("READY=1")


@pytest.mark.parametrize(
    ("value", "interval_s"), [("30000000", 15.0), ("", None), ("0", None), ("soon", None)]
)
def test_the_watchdog_interval_is_half_the_timeout(
    monkeypatch: pytest.MonkeyPatch, value: str, interval_s: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", value)
    assert serve.watchdog_interval_s() == interval_s
