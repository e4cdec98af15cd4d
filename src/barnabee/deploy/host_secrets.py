"""Secrets of a NixOS host: what each is for, which are missing, and guests that wait for them.

The host states its secrets in etc/barnabee/secrets.json (nixos/modules/secrets.nix).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict

from barnabee.core.errors import BadInput, Misconfigured
from barnabee.core.files import write_atomically
from barnabee.deploy import command
from barnabee.deploy.command import StepFailed, run_checked

SECRETS_FILE = Path("etc/barnabee/secrets.json")
PURPOSES = {
    "api_token": "the admin token, the same on all hosts; any long random text",
    "azure_openai_key": "the key of the language model's server",
    "b2_application_key": "the replica of the database: the application key of the bucket",
    "b2_key_id": "the replica of the database: the key id of the bucket",
    "grafana_admin_password": "Grafana: the administrator's password",
    "grafana_secret_key": "Grafana: the key of its own secrets; any long random text",
    "heartbeat_url": "the URL of the external dead man's switch",
    "home_assistant_token": "Home Assistant: a long-lived access token",
    "home_assistant_webhook": "Home Assistant: the URL of the webhook for alerts",
    "llm_api_key": "the key of the language model's server",
    "nas_ssh_key": "the private SSH key with which recordings are copied to the NAS",
    "rclone_conf": "rclone's configuration of the off-site destination for snapshots",
    "restic_password": "the password of the snapshots; any long random text",
    "smtp_password": "the password of the mail server for alerts",
    "tls_certificate": "the certificate of the page, the same on all hosts (PEM)",
    "tls_key": "the key of that certificate (PEM)",
}
_RANDOM = frozenset(
    {"api_token", "grafana_admin_password", "grafana_secret_key", "restic_password"}
)
_TLS = frozenset({"tls_certificate", "tls_key"})
_SHARED = _TLS | {"api_token", "restic_password"}
_OPENSSL_S = 30.0
_POLL_S = 2.0
_START_S = 30.0

log = structlog.get_logger()


class HostSecrets(BaseModel):
    """Files of the secrets by name; `directory` is None when they are encrypted with sops."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    directory: Path | None
    files: dict[str, Path]
    guests: dict[str, tuple[str, ...]] = {}  # what the unit of a guest needs
    failing: tuple[str, ...] = ()  # units that failed for want of secrets
    is_primary: bool = False  # its token and certificate are those of all hosts
    page_hosts: tuple[str, ...] = ("barnabee.local",)

    def list_missing(self) -> list[str]:
        """Return the names without a file; Misconfigured when this user cannot see the files."""
        try:
            return sorted(name for name, file in self.files.items() if not file.exists())
        except PermissionError as error:
            raise Misconfigured(what="Only root can see the secrets") from error

    def remedy(self) -> str:
        """Return what to do about missing secrets."""
        if self.directory is not None:
            return "Run `barnabee secrets add`, or list those not used in barnabee.secrets.unused"
        return (
            "Put this machine's age key into /var/lib/sops-nix/key.txt, then run "
            "`/run/current-system/bin/switch-to-configuration test`"
        )


def read_host_secrets(root: Path = Path("/")) -> HostSecrets | None:
    """Return the secrets of this machine; None when it needs none."""
    try:
        text = (root / SECRETS_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return HostSecrets.model_validate_json(text)


def describe_secret(name: str) -> str:
    return f"{name}: {PURPOSES.get(name, 'see the documentation of the option that uses it')}"


def store_secret(host: HostSecrets, name: str, value: str) -> None:
    """Write a secret, readable by root; Misconfigured when the secrets are encrypted."""
    if host.directory is None:
        reason = "encrypted: change the file with `sops`, and deploy it"
        raise Misconfigured(what=f"The secrets of this machine are {reason}")
    host.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(host.files[name], value, mode=0o400, durable=True)


def generate_secrets(
    names: Iterable[str], hosts: Iterable[str], *, is_primary: bool
) -> dict[str, str]:
    """Return values for those of `names` that can be made here.

    A certificate is self-signed, for `hosts`, and made only with its key. Only the primary makes
    what all hosts share.
    """
    wanted = set(names) - (frozenset() if is_primary else _SHARED)
    made = {name: secrets.token_urlsafe(32) for name in sorted(wanted & _RANDOM)}
    if wanted >= _TLS:
        made |= _generate_certificate(list(hosts))
    return made


def _generate_certificate(hosts: list[str]) -> dict[str, str]:
    is_address = [host.replace(".", "").isdigit() for host in hosts]
    kinds = ["IP" if address else "DNS" for address in is_address]
    alternatives = ",".join(f"{kind}:{host}" for kind, host in zip(kinds, hosts, strict=True))
    key = (
        "-config",
        "/dev/null",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    )
    subject = ("-subj", "/CN=barnabee", "-addext", f"subjectAltName={alternatives}")
    output = ("-days", "3650", "-keyout", "-", "-out", "-")
    try:
        text = run_checked("openssl", "req", "-x509", *key, *subject, *output, limit_s=_OPENSSL_S)
    except StepFailed:  # there is no openssl: the certificate is asked for
        return {}
    start = text.index("-----BEGIN CERTIFICATE")
    return {"tls_key": text[:start], "tls_certificate": text[start:]}


def read_directory(directory: Path, names: Collection[str]) -> dict[str, str]:
    """Return the secrets in the files of `directory`; BadInput for one that cannot be read."""
    found = {}
    for name in names:
        try:
            found[name] = (directory / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(what=f"The secret {name} cannot be read: {error}") from error
    return found


def wait_for_secrets(
    host: HostSecrets, report: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Start each guest once its secrets exist, and all failing units at the end.

    `report` gets a sentence whenever the missing secrets change, and "" at the end.
    """
    waiting = dict(host.guests)
    reported: set[str] | None = None
    while True:
        missing = set(host.list_missing())
        ready = [unit for unit, names in waiting.items() if missing.isdisjoint(names)]
        for unit in ready:  # its condition may have skipped it
            del waiting[unit]
        _start([*ready, *(host.failing if reported and not missing else ())])
        if missing != reported:
            report(_describe_waiting(host, waiting, missing))
            reported = missing
        if not missing:
            return
        sleep(_POLL_S)


def _start(units: list[str]) -> None:
    if units:
        for unit in units:  # it may have reached its start limit
            command.reset_failed(unit)
        command.control_units("start", "--no-block", *units, limit_s=_START_S)


def _describe_waiting(
    host: HostSecrets, waiting: dict[str, tuple[str, ...]], missing: set[str]
) -> str:
    if not missing:
        return ""
    lacking = {
        unit: ", ".join(name for name in waiting[unit] if name in missing) for unit in waiting
    }
    guests = [f"{unit} waits for {names}" for unit, names in lacking.items()]
    return f"Missing secrets: {', '.join(sorted(missing))}. {'. '.join([*guests, host.remedy()])}."
