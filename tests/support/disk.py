"""Small disk (tmpfs) that a test can fill or make read-only."""

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
        """Use up all free space."""
        chunk = bytes(64 * 1024)
        try:
            with (self.directory / "ballast").open("ab", buffering=0) as file:
                while file.write(chunk) == len(chunk):
                    pass
        except OSError:
            return

    def free(self) -> None:
        """Free the space that `fill` used."""
        (self.directory / "ballast").unlink()

    def make_read_only(self) -> None:
        """Mount a read-only view over it, which also works while files are open."""
        self._run("mount", "--bind", str(self.directory))
        self._run("mount", "-o", "remount,bind,ro")

    def make_writable(self) -> None:
        """Remove the read-only view."""
        self._run("umount", "--lazy")

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [*command, str(self.directory)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"this test needs root to mount a file system: {done.stderr}"
