"""First installation of a host over SSH (the specification's deploy-initial.sh).

    check -> secrets -> build -> erase the disk -> copy -> install -> put the secrets there

Nothing is erased before the check has passed and everything is built. The secrets are files on the
new disk, or with sops a file of the flake, encrypted for a key that this machine keeps until the
new one has it.
"""

from __future__ import annotations

import io
import json
import shlex
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from barnabee.core.errors import BadInput
from barnabee.core.files import write_atomically
from barnabee.deploy.command import DeployRefused, run_checked
from barnabee.deploy.hardware import Hardware
from barnabee.deploy.host_check import InstallFacts, facts_command, find_problems
from barnabee.deploy.host_secrets import describe_secret
from barnabee.deploy.remote import BUILD_S, SSH, build_command, copy_command

SOPS_FILE = Path("secrets/house.yaml")
_COPY_S = 2 * 3600.0
_DISK_S = 1800.0
_SECRETS_S = 60.0


@dataclass(frozen=True)
class InstallPlan:
    """First installation of a host, as commands; `disk` is what the operator agreed to erase."""

    host: str
    address: str
    flake: str
    disk: str

    @property
    def directory(self) -> Path:
        """The flake's directory, if it is one."""
        return Path(self.flake.partition("#")[0])

    def attribute(self, path: str) -> str:
        """Return `flake#attribute` of an option of the host."""
        return f"{self.flake.partition('#')[0]}#nixosConfigurations.{self.host}.config.{path}"

    def build_command(self, output: str) -> tuple[str, ...]:
        return build_command(self.attribute(f"system.build.{output}"))

    def copy_command(self, path: str, *, mounted: bool) -> tuple[str, ...]:
        """Copy to the installer's memory, or to the mounted disk, which has more space."""
        store = "?remote-store=local%3Froot=/mnt" if mounted else ""
        return copy_command(path, f"ssh-ng://{self.address}{store}")

    def ssh_command(self, *command: str) -> tuple[str, ...]:
        return (*SSH, self.address, shlex.join(command))

    def commands(self) -> list[tuple[tuple[str, ...], float]]:
        """Return commands and limits in seconds; DISKO and SYSTEM stand for what was built."""
        install = ("nixos-install", "--no-root-passwd", "--no-channel-copy", "--system", "SYSTEM")
        return [
            (self.copy_command("DISKO", mounted=False), _COPY_S),
            (self.ssh_command("DISKO"), _DISK_S),
            (self.copy_command("SYSTEM", mounted=True), _COPY_S),
            (self.ssh_command(*install), _DISK_S),
        ]

    def secrets_command(self) -> tuple[str, ...]:
        """Return the command that unpacks an archive of secrets, its input, on the new disk."""
        return self.ssh_command("tar", "--extract", "--preserve-permissions", "--directory=/mnt")

    def describe(self) -> list[str]:
        """Return the commands for a dry run."""
        builds = (self.build_command("diskoScript"), self.build_command("toplevel"))
        checks = (facts_command(self.flake, self.host),)
        steps = tuple(command for command, _ in self.commands())
        return [
            shlex.join(command) for command in (*checks, *builds, *steps, self.secrets_command())
        ]


@dataclass(frozen=True)
class HostKeys:
    """What the new disk gets besides the system: secrets by name, or the age key of the host."""

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    age_key: str | None = field(default=None, repr=False)

    def files(self, facts: InstallFacts) -> dict[Path, str]:
        """Return the content of the files by their path on the host."""
        if self.age_key is not None:
            return {facts.key_file: f"{self.age_key}\n"}
        if facts.secrets_directory is None:
            return {}
        return {facts.secrets_directory / name: value for name, value in self.secrets.items()}


def require_installable(plan: InstallPlan, facts: InstallFacts, hardware: Hardware) -> None:
    """Raise DeployRefused with every reason against the installation."""
    problems = find_problems(plan.host, facts, hardware)
    if facts.disk != plan.disk:
        named = plan.disk or "nothing"
        problems.append(f"--erase names {named}, but barnabee.disk is {facts.disk}.")
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise DeployRefused(reason=f"{plan.host} cannot be installed yet:{listed}")


def install_host(
    plan: InstallPlan, facts: InstallFacts, keys: HostKeys, report: Callable[[str], None]
) -> None:
    """Build, erase the disk and install; StepFailed leaves the machine in its installer."""
    built = {}
    for name, output in (("DISKO", "diskoScript"), ("SYSTEM", "toplevel")):
        report(f"building {output} of {plan.host}")
        result = run_checked(*plan.build_command(output), limit_s=BUILD_S)
        built[name] = result.strip().splitlines()[-1]
    for template, limit_s in plan.commands():
        command = tuple(_substitute(argument, built) for argument in template)
        report(shlex.join(command))
        run_checked(*command, limit_s=limit_s)
    files = keys.files(facts)
    if files:
        report(f"copying {len(files)} secrets")
        run_checked(*plan.secrets_command(), limit_s=_SECRETS_S, stdin=pack_secrets(files))
    report(f"{plan.host} is installed. Restart it: ssh {plan.address} reboot")
    missing = (
        [] if facts.encrypted else [name for name in facts.secrets if name not in keys.secrets]
    )
    if missing:
        listed = "".join(f"\n  - {describe_secret(name)}" for name in missing)
        report(f"Then add what it waits for, with `barnabee secrets add` on {plan.host}:{listed}")
    if facts.page_hosts:
        report(f"The page: https://{facts.page_hosts[0]}/")


def pack_secrets(files: Mapping[Path, str]) -> bytes:
    """Return a tar archive of files and their directories that only root may read. Pure."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for directory in sorted({path.parent for path in files}):
            entry = tarfile.TarInfo(str(directory).lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(entry)
        for path, text in sorted(files.items()):
            content = text.encode()
            entry = tarfile.TarInfo(str(path).lstrip("/"))
            entry.mode, entry.size = 0o400, len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def make_host_key(file: Path) -> str:
    """Return the age key in `file`; without one, make it there.

    It stays until the machine has it: what is encrypted for a lost key cannot be read again.
    """
    from pyrage import x25519  # noqa: PLC0415 - 5 MiB that only this needs

    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(file, f"{x25519.Identity.generate()}\n", mode=0o600, durable=True)
    return read_host_key(file)


def read_host_key(file: Path) -> str:
    """Return the age key in `file`; BadInput when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(what=f"The age key in {file} cannot be read: {error}") from error


def find_recipient(key: str) -> str:
    """Return the public part of an age key."""
    from pyrage import x25519  # noqa: PLC0415 - 5 MiB that only this needs

    return str(x25519.Identity.from_str(key).to_public())


def is_recipient(flake: Path, key: str) -> bool:
    """Return whether SOPS_FILE of the flake is encrypted for an age key."""
    try:
        return find_recipient(key) in (flake / SOPS_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def encrypt_secrets(flake: Path, secrets: Mapping[str, str], recipients: list[str]) -> None:
    """Write SOPS_FILE of the flake, encrypted for `recipients`.

    The file is made known to Git, because a flake has only such files.
    """
    form = ("--input-type", "json", "--output-type", "yaml", "--age", ",".join(recipients))
    plain = json.dumps(dict(secrets)).encode()
    text = run_checked("sops", "encrypt", *form, "/dev/stdin", limit_s=_SECRETS_S, stdin=plain)
    path = flake / SOPS_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    run_checked(
        "git", "-C", str(flake), "add", "--intent-to-add", str(SOPS_FILE), limit_s=_SECRETS_S
    )


def _substitute(argument: str, built: dict[str, str]) -> str:
    for name, path in built.items():
        argument = argument.replace(name, path)
    return argument
