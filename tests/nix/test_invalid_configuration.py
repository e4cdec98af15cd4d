"""Invalid configurations: evaluation fails with one sentence that names the option."""

from __future__ import annotations

import pytest

from support.nix import evaluate, needs_nixpkgs, try_evaluate

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]

DRIVERS = "boot.kernelPackages.nvidiaPackages"
NO_LOADER = "boot.loader.systemd-boot.enable = lib.mkForce false;"

INVALID = {
    "a GPU that is too small": (
        "barnabee-core",
        "{ barnabee.system.gpu.vram_mib = 12288; }",
        "barnabee.system.model takes 14848 MiB at peak",
    ),
    "two services with one port": (
        "barnabee-core",
        "{ barnabee.system.service.worker.port = 8000; }",
        "barnabee.system.service.api and worker have the same port 8000",
    ),
    "a service without a host": (
        "barnabee-core",
        '{ barnabee.system.host.barnabee-gpu.roles = [ "monitoring" ]; }',
        "barnabee.system.service.gpu runs on no host",
    ),
    "an unknown dependency": (
        "barnabee-core",
        '{ barnabee.system.service.api.needs = [ "restore" "piano" ]; }',
        "needs or wants piano",
    ),
    "an unknown host name": (
        "barnabee-core",
        '{ barnabee.name = "attic"; barnabee.network.addresses.attic = "10.77.0.9"; }',
        "barnabee.name is attic",
    ),
    "a host without an address": (
        "barnabee-core",
        '{ lib, ... }: { barnabee.network.addresses = lib.mkForce { beast = "10.77.0.1"; }; }',
        "barnabee.network.addresses has no address for barnabee-core",
    ),
    "secrets without a source": (
        "barnabee-core",
        "{ lib, ... }: { barnabee.secrets.directory = lib.mkForce null; }",
        "barnabee.secrets has no source for ",
    ),
    "a replica without credentials": (
        "barnabee-core",
        '{ barnabee.secrets.unused = [ "b2_key_id" ]; }',
        "barnabee.secrets.unused leaves the replica without credentials",
    ),
    "a reverse proxy without a certificate": (
        "barnabee-core",
        '{ barnabee.secrets.unused = [ "tls_key" ]; }',
        "leaves nginx without a certificate",
    ),
    "ACME without a DNS provider": (
        "barnabee-core",
        "{ barnabee.proxy.acme = true; security.acme.acceptTerms = true; }",
        "barnabee.proxy.acme needs security.acme.defaults.dnsProvider",
    ),
    "secrets in the Nix store": (
        "barnabee-core",
        '{ lib, ... }: { barnabee.secrets.directory = lib.mkForce "/nix/store/secrets"; }',
        "barnabee.secrets.directory is in the Nix store",
    ),
    "a standby with another role": (
        "manofwar",
        '{ barnabee.system.host.manofwar.roles = [ "standby" "core" ]; }',
        "barnabee.roles of manofwar are standby, core",
    ),
    "a standby with the primary's address": (
        "manofwar",
        '{ barnabee.network.addresses.manofwar = "10.77.0.12"; }',
        "barnabee.network.addresses gives barnabee-core and manofwar the same address",
    ),
    "a virtual IP without a standby host": (
        "beast",
        '{ barnabee.system.host.manofwar.roles = [ "monitoring" ]; }',
        "no host of barnabee.system.host has the role standby",
    ),
    "a standby without a virtual IP": (
        "manofwar",
        "{ lib, ... }: { barnabee.standby = { enable = true; virtualIp = lib.mkForce null; }; }",
        "barnabee.standby.enable needs a virtual IP address",
    ),
    "a standby without a LAN address": (
        "beast",
        '{ lib, ... }:{ barnabee.standby.lanAddresses = lib.mkForce { beast = "192.168.1.10"; }; }',
        "barnabee.standby.lanAddresses has no address for manofwar",
    ),
    "two hosts with one LAN address": (
        "beast",
        '{ barnabee.standby.lanAddresses.manofwar = "192.168.1.10"; }',
        "barnabee.standby.lanAddresses gives two hosts the same address",
    ),
    "a virtual IP that a host has": (
        "manofwar",
        '{ barnabee.standby.virtualIp = "192.168.1.11/24"; }',
        "barnabee.standby.virtualIp is the own address of manofwar",
    ),
    "a virtual IP without an interface": (
        "manofwar",
        "{ lib, ... }: { barnabee.uplink = lib.mkForce null; }",
        "barnabee.uplink is not set",
    ),
    "a standby without a private interface": (
        "manofwar",
        "{ lib, ... }: { barnabee.network.interface = lib.mkForce null; }",
        "barnabee.network.interface is not set",
    ),
    "guests that a standby cannot reach": (
        "beast",
        "{ lib, ... }: { barnabee.bridgePorts = lib.mkForce [ ]; }",
        "barnabee.bridgePorts is empty",
    ),
    "a lease too short for a renewal": (
        "barnabee-core",
        "{ barnabee.system.standby.lease_s = 20; }",
        "barnabee.system.standby.lease_s leaves no time",
    ),
    "a lease that ends before litestream stops": (
        "barnabee-core",
        "{ barnabee.system.standby.stop_s = 8; }",
        "barnabee.system.standby.stop_s must be above",
    ),
    "a Redis larger than its memory limit": (
        "barnabee-core",
        "{ barnabee.redis.maxMemoryMib = 768; }",
        "barnabee.redis.maxMemoryMib is not below",
    ),
    "a GPU on a host without the role": (
        "barnabee-monitoring",
        "{ barnabee.gpu.enable = true; }",
        "barnabee.gpu.enable is set, but barnabee-monitoring does not have the role gpu",
    ),
    "a driver older than the CUDA libraries": (
        "barnabee-gpu",
        f"{{ config, ... }}: {{ hardware.nvidia.package = config.{DRIVERS}.legacy_535; }}",
        "needs driver 570.26 or newer, but hardware.nvidia.package is 535.",
    ),
    "a GPU without the CUDA libraries": (
        "barnabee-gpu",
        "{ pkgs, ... }: { barnabee.package = pkgs.barnabee; }",
        "barnabee.package has no CUDA libraries",
    ),
    "a MIG slice with the memory of the whole GPU": (
        "barnabee-gpu",
        '{ barnabee.system.gpu.device = "MIG-0fa1b2c3-0000-1111-2222-333344445555"; }',
        "barnabee.system.gpu.vram_mib is that of the whole GPU",
    ),
    "a MIG slice that is too small for the models": (
        "barnabee-gpu",
        """{ barnabee.system.gpu = {
            device = "MIG-0fa1b2c3-0000-1111-2222-333344445555"; vram_mib = 4864; }; }""",
        "barnabee.system.model takes",
    ),
    "passthrough without an IOMMU": (
        "beast",
        "{ lib, ... }: { barnabee.passthrough.iommu = lib.mkForce null; }",
        "barnabee.passthrough.enable needs an IOMMU",
    ),
    "passthrough and a driver for the same GPU": (
        "beast",
        "{ barnabee.gpu.enable = true; }",
        "this host loads the nvidia driver",
    ),
    "passthrough of some functions only": (
        "beast",
        '{ lib, ... }: { barnabee.passthrough.addresses = lib.mkForce [ "0000:01:00.0" ]; }',
        "name different numbers of functions",
    ),
    "guests without an uplink": (
        "beast",
        "{ lib, ... }: { barnabee.uplink = lib.mkForce null; }",
        "set barnabee.uplink",
    ),
    "a VM without passthrough": (
        "beast",
        "{ lib, ... }: { barnabee.passthrough.enable = lib.mkForce false; }",
        "barnabee.passthrough.enable is off",
    ),
    "a switch without the health check": (
        "beast",
        '{ barnabee.deploy.checks = [ "my-own.service" ]; }',
        "barnabee.deploy.checks lacks barnabee-health.service",
    ),
    "boot counting without systemd-boot": (
        "beast",
        f"{{ lib, ... }}: {{ {NO_LOADER} barnabee.deploy.bootCounting = true; }}",
        "barnabee.deploy.bootCounting needs boot.loader.systemd-boot.enable",
    ),
    "a voice probe without access to the API": (
        "manofwar",
        "{ barnabee.deploy.probe = true; }",
        "barnabee.deploy.probe needs the API",
    ),
    "automatic upgrades without a flake": (
        "beast",
        "{ barnabee.deploy.autoUpgrade = true; }",
        "barnabee.deploy.autoUpgrade needs a flake",
    ),
    "an off-site target that is no remote": (
        "barnabee-core",
        '{ barnabee.system.backup.offsite = "nas"; }',
        "barnabee.system.backup.offsite is nas, which names no remote",
    ),
    "a drill at the time of the snapshot": (
        "barnabee-core",
        '{ barnabee.system.backup.drill_at = "03:10"; }',
        "barnabee.system.backup.drill_at is the time of the snapshot",
    ),
    "a copy of recordings without recordings": (
        "barnabee-core",
        '{ barnabee.system.backup.audio_to = "/mnt/nas"; }',
        "barnabee.system.backup.audio_to copies recordings, but",
    ),
    "a Proxmox guest without an address": (
        "battleserver",
        """{ barnabee.proxmox.guests.piano = {
            kind = "lxc"; id = 112; cores = 1; memoryMib = 512; diskGib = 4; }; }""",
        "barnabee.proxmox.guests.piano has no address",
    ),
    "two Proxmox guests with one id": (
        "battleserver",
        "{ lib, ... }: { barnabee.proxmox.guests.barnabee-gpu.id = lib.mkForce 110; }",
        "barnabee.proxmox.guests uses an id for two guests",
    ),
    "no disk": (
        "manofwar",
        "{ lib, ... }: { barnabee.disk = lib.mkForce null; }",
        "barnabee.disk is not set",
    ),
}


@pytest.mark.parametrize(("host", "module", "says"), INVALID.values(), ids=INVALID.keys())
def test_invalid_configuration_fails_with_one_sentence(host: str, module: str, says: str) -> None:
    messages = evaluate(f'hosts.messages "{host}" ({module})')
    print(*messages, sep="\n")
    ours = [message for message in messages if message.startswith("barnabee.")]
    assert [message for message in ours if says in message]
    for message in ours:  # nixpkgs may add its own
        assert message.endswith(".")
        assert "\n" not in message


TYPE_ERRORS = {
    "text for a number": (
        '{ barnabee.system.service.api.port = "many"; }',
        "barnabee.system.service.api.port",
    ),
    "a number above its limit": (
        "{ barnabee.system.service.api.port = 70000; }",
        "between 1 and 65535",
    ),
    "an unknown enum value": (
        '{ barnabee.system.service.api.restart = "perhaps"; }',
        '"always", "never"',
    ),
    "a GPU that is neither a number nor a UUID": (
        '{ barnabee.system.gpu.device = "cuda:0"; }',
        "barnabee.system.gpu.device",
    ),
    "an unknown key": (
        "{ barnabee.system.service.api.colour = 1; }",
        "barnabee.system.service.api.colour",
    ),
    "an unknown option": ("{ barnabee.piano = true; }", "`barnabee.piano' does not exist"),
    "a service without a required key": (
        '{ barnabee.system.service.piano = { summary = "a"; role = "core"; probe = "tcp"; }; }',
        "barnabee.system.service.piano.",
    ),
}


@pytest.mark.parametrize(("module", "says"), TYPE_ERRORS.values(), ids=TYPE_ERRORS.keys())
def test_type_errors_do_not_evaluate(module: str, says: str) -> None:
    done = try_evaluate(f'(hosts.report "barnabee-core" ({module})).written')
    assert done.returncode != 0
    assert says in done.stderr
