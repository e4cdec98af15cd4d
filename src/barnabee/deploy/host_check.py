"""Check of a host's configuration before its installation, on the deployer.

The flake states the facts (nixos/modules/install-facts.nix); the machine, when it can be reached,
its hardware.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from barnabee.deploy.command import DeployRefused, run_checked
from barnabee.deploy.hardware import Hardware

_EVAL_S = 600.0
_BY_ID = "/dev/disk/by-id/"
NIX = ("nix", "--extra-experimental-features", "nix-command flakes")


class GpuFunction(BaseModel):
    """A PCI function that the host passes to its guest."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    address: str
    id: str


class InstallFacts(BaseModel):
    """What the flake says about a host."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    disk: str | None
    interfaces: tuple[str, ...] = ()
    gpu: tuple[GpuFunction, ...] = ()
    cpu: str | None = None
    placeholders: dict[str, str | None] = {}  # value as JSON; None: there is no such option
    has_login: bool
    failed: tuple[str, ...] = ()  # messages of failed assertions
    encrypted: bool
    key_file: Path
    secrets_directory: Path | None
    secrets: tuple[str, ...] = ()
    is_primary: bool = False  # its token and certificate are those of all hosts
    page_hosts: tuple[str, ...] = ()


def facts_command(flake: str, host: str) -> tuple[str, ...]:
    """Return the command that prints the facts of `host`."""
    url = flake.partition("#")[0]
    return (
        *NIX,
        "eval",
        "--json",
        f"{url}#nixosConfigurations.{host}.config.barnabee.installFacts",
    )


def read_install_facts(flake: str, host: str) -> InstallFacts:
    """Evaluate the facts of `host`; StepFailed, or DeployRefused for those of another version."""
    text = run_checked(*facts_command(flake, host), limit_s=_EVAL_S)
    try:
        return InstallFacts.model_validate_json(text)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DeployRefused(reason=f"the flake's facts of {host} are invalid at {field}") from error


def find_problems(host: str, facts: InstallFacts, hardware: Hardware | None) -> list[str]:
    """Return what must be changed before `host` is installed, a sentence each. Pure.

    Without `hardware` the names of disk, interfaces and GPU are not compared with the machine.
    """
    problems = [*facts.failed, *_find_placeholders(host, facts)]
    if not facts.has_login:
        problems.append(
            "No SSH key may log in: add yours to users.users.root.openssh.authorizedKeys.keys."
        )
    if hardware is not None:
        problems += _find_differences(facts, hardware)
    return problems


def _find_placeholders(host: str, facts: InstallFacts) -> Iterator[str]:
    for name, value in facts.placeholders.items():
        if value is None:
            yield f"barnabee.placeholders names {name}, which is no option: remove it."
        else:
            remedy = f"set it (`barnabee facts {host}` prints the hardware's names)"
            yield f"{name} is still the example {value}: {remedy} and remove this placeholder."


def _find_differences(facts: InstallFacts, hardware: Hardware) -> Iterator[str]:
    disks = {f"{_BY_ID}{disk.name}" for disk in hardware.disks}
    if facts.disk is not None and facts.disk.startswith(_BY_ID) and facts.disk not in disks:
        known = ", ".join(sorted(disk.name for disk in hardware.internal_disks)) or "none"
        yield f"barnabee.disk is {facts.disk}, which that machine lacks; its disks: {known}."
    for name in facts.interfaces:
        if name not in hardware.interfaces:
            known = ", ".join(hardware.interfaces) or "none"
            yield f"There is no interface {name} on that machine; its wired interfaces: {known}."
    functions = {one.address: one for one in hardware.pci}
    for wanted in facts.gpu:
        found = functions.get(wanted.address)
        if found is None or found.ids != wanted.id:
            actual = found.ids if found else "nothing"
            address = f"barnabee.passthrough expects {wanted.id} at {wanted.address}"
            yield f"{address}, where that machine has {actual}."
        elif not found.has_iommu:
            yield f"The IOMMU is off for {wanted.address}: enable it in the firmware."
    if facts.cpu and hardware.cpu and facts.cpu != hardware.cpu:
        yield f"barnabee.passthrough.iommu is {facts.cpu}, but the CPU is of {hardware.cpu}."
