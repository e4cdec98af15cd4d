"""Files and configuration of the demo home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

from barnabee.core.errors import BarnabeeError
from barnabee.core.files import write_atomically

_TEMPLATE = Path(__file__).with_name("configuration.yaml")
_PORT_MAX = 65535


class DemoHomeFailed(BarnabeeError):
    """The demo home {problem}: {remedy}."""

    code = "demo_home_failed"


@dataclass(frozen=True)
class DemoHome:
    """One demo home: its directory and its port on loopback.

    `packages` are configuration packages that are copied into it, as a user does with a real one.
    """

    directory: Path
    port: int
    packages: tuple[Path, ...] = ()
    webhook_id_file: Path | None = None

    @property
    def url(self) -> str:
        """The address of its HTTP API; also its OAuth client id (IndieAuth)."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/websocket"

    @property
    def configuration_file(self) -> Path:
        return self.directory / "configuration.yaml"

    @property
    def packages_directory(self) -> Path:
        return self.directory / "packages"

    @property
    def secrets_file(self) -> Path:
        """The values of `!secret` references."""
        return self.directory / "secrets.yaml"

    @property
    def webhook_file(self) -> Path:
        """Holds the id of the webhook that receives alerts."""
        return self.webhook_id_file or self.directory / "webhook-id"

    @property
    def password_file(self) -> Path:
        """Holds the password of the only user."""
        return self.directory / "owner-password"

    @property
    def output_file(self) -> Path:
        """Standard output and error of the last run."""
        return self.directory / "output.log"


def render_configuration(port: int) -> str:
    """Return the text of configuration.yaml; ValueError when `port` is not within 1-65535."""
    if not 1 <= port <= _PORT_MAX:
        msg = f"the port must be between 1 and {_PORT_MAX}, not {port}"
        raise ValueError(msg)
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(port=port)


def make_command(python: Path, home: DemoHome) -> tuple[str, ...]:
    """Return the command line that runs the home and installs nothing from PyPI."""
    return (
        str(python),
        *("-m", "homeassistant"),
        *("--config", str(home.directory)),
        "--skip-pip",
    )


def read_secret(path: Path) -> str | None:
    """Return the secret in a file, or None when the file is missing or empty."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def write_secret(path: Path, secret: str) -> None:
    """Replace the file atomically, with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{secret}\n", mode=0o600)
