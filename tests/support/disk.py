"""A small disk that a test can fill or turn read-only: a tmpfs of its own."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs mounted at `directory`."""

    directory: Path
    size_mib: int = 32

    def mount(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._run("mount", "-t", "tmpfs", "-o", f"size={self.size_mib}m", "tmpfs")

    def unmount(self) -> None:
        self._run("umount", "--lazy")

    def fill(self) -> None:
        """Take all the space there is."""
        chunk = bytes(64 * 1024)
        try:
            with (self.directory / "ballast").open("ab", buffering=0) as file:
                while file.write(chunk) == len(chunk):
                    pass
        except OSError:
            return

    def free(self) -> None:
        """Give the space back."""
        (self.directory / "ballast").unlink()

    def make_read_only(self) -> None:
        """Cover it with a read-only view of itself, as a remount does where files are open."""
        self._run("mount", "--bind", str(self.directory))
        self._run("mount", "-o", "remount,bind,ro")

    def make_writable(self) -> None:
        """Take the read-only view away."""
        self._run("umount", "--lazy")

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [*command, str(self.directory)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (
            f"this test needs the right to mount a file system (run it as root): {done.stderr}"
        )
