"""`barnabee deploy-initial` and `facts`: the first installation of a NixOS host, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.deploy.hardware import HostKind
    from barnabee.deploy.host_check import InstallFacts
    from barnabee.deploy.install import HostKeys, InstallPlan


def install_host(
    host: Annotated[str, typer.Argument(help="The host's name in the flake.")],
    to: Annotated[
        str, typer.Option("--to", metavar="USER@MACHINE", help="Machine with the NixOS installer.")
    ],
    erase: Annotated[
        str, typer.Option("--erase", metavar="DISK", help="The disk to erase completely.")
    ],
    flake: Annotated[
        str, typer.Option("--flake", help="Flake with the host's configuration.")
    ] = ".",
    secrets: Annotated[
        Path | None,
        typer.Option("--secrets", metavar="DIR", help="Directory with a file for each secret."),
    ] = None,
    sops: Annotated[
        bool, typer.Option("--sops", help="Encrypt the secrets into the flake for a new key.")
    ] = False,
    age_key: Annotated[
        Path | None,
        typer.Option("--age-key", metavar="FILE", help="The host's key, if they already are."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")] = False,
) -> None:
    """Erase a machine that runs the NixOS installer, and install a host on it.

    Checks the configuration first, and asks for the secrets that cannot be generated.
    """
    from barnabee.deploy import hardware, host_check, install

    plan = install.InstallPlan(host, to, flake, erase)
    if dry_run:
        for command in plan.describe():
            echo(command)
        return
    facts = host_check.read_install_facts(flake, host)
    install.require_installable(plan, facts, hardware.read_hardware(to))
    _install_with_keys(plan, facts, secrets, age_key, sops=sops)


def _install_with_keys(
    plan: InstallPlan,
    facts: InstallFacts,
    secrets: Path | None,
    age_key: Path | None,
    *,
    sops: bool,
) -> None:
    from barnabee.deploy import host_check, install
    from barnabee.up import paths

    kept = paths.local_paths().root / "host-keys" / f"{plan.host}.txt"  # until the machine has it
    try:
        if facts.encrypted:
            keys = _read_age_key(plan, age_key, kept)
        else:
            keys = _collect_secrets(plan, facts, secrets, kept if sops else None)
            if sops:  # the flake has changed
                facts = host_check.read_install_facts(plan.flake, plan.host)
        install.install_host(plan, facts, keys, lambda line: echo(line, err=True))
        if keys.age_key is not None and age_key is None:
            kept.unlink(missing_ok=True)
    finally:
        if kept.exists():
            echo(f"The age key of {plan.host} is in {kept}; the next try uses it", err=True)


def _read_age_key(plan: InstallPlan, file: Path | None, kept: Path) -> HostKeys:
    """Read the key in `file`, or the one that an earlier try has kept for this flake."""
    from barnabee.core.errors import SettingMissing
    from barnabee.deploy import install

    if file is not None:
        return install.HostKeys(age_key=install.read_host_key(file))
    if kept.exists() and install.is_recipient(plan.directory, key := install.read_host_key(kept)):
        return install.HostKeys(age_key=key)
    hint = f"{install.SOPS_FILE} is encrypted, so name the file with the age key of {plan.host}"
    raise SettingMissing(name="--age-key", hint=hint)


def _collect_secrets(
    plan: InstallPlan, facts: InstallFacts, directory: Path | None, kept: Path | None
) -> HostKeys:
    """Read, generate and ask for the secrets.

    With `kept`, the file of the host's age key, all must be there; they are encrypted for it.
    """
    from barnabee.cli.secrets import ask_for_secrets
    from barnabee.core.errors import BadRequest
    from barnabee.deploy import host_secrets, install
    from barnabee.deploy.command import DeployRefused

    flake = plan.directory
    if kept and not (flake / "flake.nix").is_file():
        raise BadRequest(field="--flake", reason="--sops changes the flake: name its directory")
    values = host_secrets.read_directory(directory, facts.secrets) if directory else {}
    left = [name for name in facts.secrets if name not in values]
    hosts, is_primary = facts.page_hosts, facts.is_primary
    made = host_secrets.generate_secrets(left, hosts, is_primary=is_primary)
    if made:
        echo(f"generated: {', '.join(sorted(made))}", err=True)
    values |= made
    values |= ask_for_secrets([name for name in left if name not in made])
    if kept is None:
        return install.HostKeys(values)
    missing = [name for name in facts.secrets if name not in values]
    if missing:
        listed = "".join(f"\n  - {host_secrets.describe_secret(name)}" for name in missing)
        raise DeployRefused(reason=f"--sops needs all secrets; --secrets lacks:{listed}")
    own = _own_recipients()
    key = install.make_host_key(kept)
    install.encrypt_secrets(flake, values, [install.find_recipient(key), *own])
    return install.HostKeys(values, key)


def _own_recipients() -> list[str]:
    """Return the public age keys of this user, with which `sops` edits the file later."""
    from pyrage import IdentityError, x25519

    from barnabee.core.errors import BadInput
    from barnabee.core.settings import read_variable

    default = Path("~/.config/sops/age/keys.txt").expanduser()
    file = Path(read_variable("SOPS_AGE_KEY_FILE", str(default)))
    try:
        words = file.read_text(encoding="utf-8").split()
        keys = [word for word in words if word.startswith("AGE-SECRET-KEY-1")]
        return [str(x25519.Identity.from_str(key).to_public()) for key in keys]
    except FileNotFoundError:
        echo(f"There is no {file}: only the host itself can decrypt its secrets", err=True)
        return []
    except (OSError, UnicodeDecodeError, IdentityError) as error:
        raise BadInput(what=f"The age keys in {file} cannot be read: {error}") from error


def print_host_file(
    host: Annotated[
        str, typer.Argument(help="The host's name in the flake; its role decides the content.")
    ] = "beast",
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="USER@MACHINE", help="The machine; default: this one."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: standard output."),
    ] = None,
) -> None:
    """Print hosts/HOST/default.nix with the disk, interfaces, GPU and CPU of a machine.

    `--output` replaces its file only when all is known; `>` would have emptied it by then.
    """
    from barnabee.core.errors import BadRequest
    from barnabee.core.files import write_atomically
    from barnabee.deploy import hardware

    kind = _find_kind(host)
    text = hardware.render_host_file(host, kind, hardware.read_hardware(on))
    if output is None:
        echo(text, nl=False)
        return
    try:
        write_atomically(output, text)
    except OSError as error:
        reason = f"{output} cannot be written ({error.strerror})"
        raise BadRequest(field="--output", reason=reason) from error


def _find_kind(host: str) -> HostKind:
    from barnabee.core.errors import BadRequest
    from barnabee.core.system import load_system
    from barnabee.deploy.hardware import HostKind

    hosts = load_system().host
    kinds = {
        name: [kind for kind in HostKind if kind in node.roles] for name, node in hosts.items()
    }
    if not kinds.get(host):
        known = ", ".join(name for name, found in kinds.items() if found)
        raise BadRequest(field="HOST", reason=f"{host} is no physical host; those are {known}")
    return kinds[host][0]
