"""The house of this machine, out of what the user's environment says."""

from __future__ import annotations

import os
import time
from pathlib import Path

from barnabee.clients.loki import base_url
from barnabee.core import system
from barnabee.core.auth import Access
from barnabee.core.errors import NotRunning
from barnabee.up import paths, secrets
from barnabee.up.node_commands import House
from barnabee.up.paths import Paths
from barnabee.up.setup import home_assistant_requirements


def local(*, demo_home: bool = False, monitoring: bool = False) -> House:
    """Return the house that `./barnabee up` runs here; SystemFileInvalid when it cannot be."""
    file = system.default_path().resolve()
    if os.environ.get("LOKI_URL"):
        base_url(os.environ["LOKI_URL"])  # said where the user typed, before anything starts
    home = paths.home_assistant(home_assistant_requirements()) if demo_home else None
    return House(
        system.load(file), file, paths.local(), paths.models(), os.environ, home, monitoring
    )


def token(where: Paths) -> str:
    """Return the house's token; NotRunning when no house was ever started here."""
    found = secrets.read(where, secrets.API_TOKEN)
    if found is None:
        raise NotRunning
    return found


def login_link(where: Paths, port: int) -> str:
    """Return an address that logs one browser in, once."""
    key = Access(token(where)).make_link_key(time.time())
    return f"http://127.0.0.1:{port}/login?key={key}"


def what_is_off(house: House) -> list[str]:
    """Return what this house does without, and how to have it."""
    given, files = house.environment, house.paths.secrets
    off = []
    if house.demo_home is None and not given.get("HOME_ASSISTANT_URL"):
        off.append(
            "home control: set HOME_ASSISTANT_URL and put a long-lived token into "
            f"{files / 'home_assistant_token'}, or try `./barnabee up --demo-home`"
        )
    if not given.get("AZURE_OPENAI_ENDPOINT"):
        off.append(
            "free conversation: set AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_DEPLOYMENT and put the "
            f"key into {files / 'azure_openai_key'}"
        )
    if house.replica_is_local:
        where = _short(house.paths.data / "s3")
        off.append(
            f"off-site backup: the replica is on this machine ({where}); put {secrets.KEY_ID} and "
            f"{secrets.KEY} into {files}"
        )
    if house.monitoring:
        from barnabee.up import monitoring_services  # noqa: PLC0415 - only with --monitoring

        off += monitoring_services.lacking(house)
    return off


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
