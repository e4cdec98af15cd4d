"""Where the demo home keeps its files, and what its configuration says: pure, it writes nothing.

It must not know whether Home Assistant runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

_TEMPLATE = Path(__file__).with_name("configuration.yaml")
_HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Home:
    """One demo home: the directory that holds all it knows, and its port on loopback.

    `packages` are files of configuration that it is given, as a user puts them into a real one.
    """

    directory: Path
    port: int
    packages: tuple[Path, ...] = ()
    webhook_id_file: Path | None = None

    @property
    def url(self) -> str:
        """Return the address of its HTTP API; also its OAuth client id (IndieAuth)."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def websocket_url(self) -> str:
        """Return the address of its WebSocket API."""
        return f"ws://127.0.0.1:{self.port}/api/websocket"

    @property
    def configuration_file(self) -> Path:
        """Return where Home Assistant reads its configuration."""
        return self.directory / "configuration.yaml"

    @property
    def packages_directory(self) -> Path:
        """Return where Home Assistant looks for packages."""
        return self.directory / "packages"

    @property
    def secrets_file(self) -> Path:
        """Return where Home Assistant looks for what `!secret` names."""
        return self.directory / "secrets.yaml"

    @property
    def webhook_file(self) -> Path:
        """Return the file that holds the id of the webhook on which alerts arrive."""
        return self.webhook_id_file or self.directory / "webhook-id"

    @property
    def password_file(self) -> Path:
        """Return where the password of the home's only user is kept."""
        return self.directory / "owner-password"

    @property
    def output_file(self) -> Path:
        """Return where the last run's standard output and errors are."""
        return self.directory / "output.log"


def render(port: int) -> str:
    """Return the text of configuration.yaml for a home on `port`; ValueError outside 1-65535."""
    if not 1 <= port <= _HIGHEST_PORT:
        msg = f"a port lies between 1 and {_HIGHEST_PORT}, not at {port}"
        raise ValueError(msg)
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(port=port)


def command(python: Path, home: Home) -> tuple[str, ...]:
    """Return the command that runs the home with its own `python`, fetching nothing from PyPI."""
    return (
        str(python),
        *("-m", "homeassistant"),
        *("--config", str(home.directory)),
        "--skip-pip",
    )
