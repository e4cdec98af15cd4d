"""What cannot be meant is refused while evaluating, in one sentence that names the option."""

from __future__ import annotations

import pytest

from support.nix import attempt, evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]

NO_LOADER = "boot.loader.systemd-boot.enable = lib.mkForce false;"

WRONG = {
    "a card that is too small": (
        "barnabee-core",
        "{ barnabee.system.card.vram_mib = 12288; }",
        "barnabee.system.model takes 14848 MiB at peak",
    ),
    "a port twice": (
        "barnabee-core",
        "{ barnabee.system.service.worker.port = 8000; }",
        "barnabee.system.service.api and worker have the same port 8000",
    ),
    "a service placed nowhere": (
        "barnabee-core",
        '{ barnabee.system.host.barnabee-gpu.roles = [ "monitoring" ]; }',
        "barnabee.system.service.gpu runs nowhere",
    ),
    "a need that is no service": (
        "barnabee-core",
        '{ barnabee.system.service.api.needs = [ "restore" "piano" ]; }',
        "needs or wants piano",
    ),
    "a machine that is no host": (
        "barnabee-core",
        '{ barnabee.name = "attic"; barnabee.network.addresses.attic = "10.77.0.9"; }',
        "barnabee.name is attic",
    ),
    "a machine without an address": (
        "barnabee-core",
        '{ lib, ... }: { barnabee.network.addresses = lib.mkForce { beast = "10.77.0.1"; }; }',
        "barnabee.network.addresses has no address for barnabee-core",
    ),
    "secrets from nowhere": (
        "barnabee-core",
        "{ lib, ... }: { barnabee.secrets.directory = lib.mkForce null; }",
        "barnabee.secrets gives nobody ",
    ),
    "a replica without credentials": (
        "barnabee-core",
        '{ barnabee.secrets.unused = [ "b2_key_id" ]; }',
        "barnabee.secrets.unused leaves the replica without credentials",
    ),
    "a door without a certificate": (
        "barnabee-core",
        '{ barnabee.secrets.unused = [ "tls_key" ]; }',
        "leaves nginx without a certificate",
    ),
    "a certificate by a challenge that nobody can ask": (
        "barnabee-core",
        "{ barnabee.proxy.acme = true; security.acme.acceptTerms = true; }",
        "barnabee.proxy.acme needs security.acme.defaults.dnsProvider",
    ),
    "secrets in the store": (
        "barnabee-core",
        '{ lib, ... }: { barnabee.secrets.directory = lib.mkForce "/nix/store/secrets"; }',
        "barnabee.secrets.directory is in the store",
    ),
    "a stand-by of itself": (
        "manofwar",
        '{ barnabee.system.host.manofwar.roles = [ "standby" "core" ]; }',
        "barnabee.roles makes manofwar its own stand-by",
    ),
    "a stand-by at the primary's address": (
        "manofwar",
        '{ barnabee.network.addresses.manofwar = "10.77.0.12"; }',
        "makes the stand-by equal to the primary: barnabee-core and manofwar",
    ),
    "a stand-by that no host is": (
        "beast",
        '{ barnabee.system.host.manofwar.roles = [ "monitoring" ]; }',
        "no host of barnabee.system.host has the role standby",
    ),
    "a stand-by without the house's address": (
        "manofwar",
        "{ lib, ... }: { barnabee.standby = { enable = true; address = lib.mkForce null; }; }",
        "barnabee.standby.enable needs the house's one address",
    ),
    "a stand-by without an address of its own": (
        "beast",
        '{ lib, ... }: { barnabee.standby.lan = lib.mkForce { beast = "192.168.1.10"; }; }',
        "barnabee.standby.lan has no address for manofwar",
    ),
    "two machines with one address": (
        "beast",
        '{ barnabee.standby.lan.manofwar = "192.168.1.10"; }',
        "barnabee.standby.lan gives two machines the same address",
    ),
    "a house at the address of a machine": (
        "manofwar",
        '{ barnabee.standby.address = "192.168.1.11/24"; }',
        "barnabee.standby.address is the own address of manofwar",
    ),
    "an address on no interface": (
        "manofwar",
        "{ lib, ... }: { barnabee.uplink = lib.mkForce null; }",
        "barnabee.uplink is not set",
    ),
    "a stand-by without a way to the primary": (
        "manofwar",
        "{ lib, ... }: { barnabee.network.link = lib.mkForce null; }",
        "barnabee.network.link is not set",
    ),
    "guests that no stand-by reaches": (
        "beast",
        "{ lib, ... }: { barnabee.bridgePorts = lib.mkForce [ ]; }",
        "barnabee.bridgePorts is empty",
    ),
    "a lease too short to be renewed": (
        "barnabee-core",
        "{ barnabee.system.standby.lease_s = 20; }",
        "barnabee.system.standby.lease_s leaves no time",
    ),
    "a lease that ends before litestream": (
        "barnabee-core",
        "{ barnabee.system.standby.stop_s = 8; }",
        "barnabee.system.standby.stop_s is not above",
    ),
    "a Redis that fills its limit": (
        "barnabee-core",
        "{ barnabee.redis.maxMemoryMib = 768; }",
        "barnabee.redis.maxMemoryMib is not below",
    ),
    "a card where nothing computes": (
        "barnabee-monitoring",
        "{ barnabee.gpu.card = true; }",
        "barnabee.gpu.card is set, but barnabee-monitoring has not the role gpu",
    ),
    "passthrough without an IOMMU": (
        "beast",
        "{ lib, ... }: { barnabee.passthrough.iommu = lib.mkForce null; }",
        "barnabee.passthrough.enable needs an IOMMU",
    ),
    "passthrough and a driver for the same card": (
        "beast",
        "{ barnabee.gpu.card = true; }",
        "this machine loads the nvidia driver",
    ),
    "half of the card": (
        "beast",
        '{ lib, ... }: { barnabee.passthrough.addresses = lib.mkForce [ "0000:01:00.0" ]; }',
        "name different numbers of functions",
    ),
    "guests without a way out": (
        "beast",
        "{ lib, ... }: { barnabee.uplink = lib.mkForce null; }",
        "set barnabee.uplink",
    ),
    "a VM for a card that stays": (
        "beast",
        "{ lib, ... }: { barnabee.passthrough.enable = lib.mkForce false; }",
        "barnabee.passthrough.enable is off",
    ),
    "a switch that nothing decides": (
        "beast",
        '{ barnabee.deploy.checks = [ "my-own.service" ]; }',
        "barnabee.deploy.checks does without barnabee-health.service",
    ),
    "boots counted by a loader that does not": (
        "beast",
        f"{{ lib, ... }}: {{ {NO_LOADER} barnabee.deploy.bootCounting = true; }}",
        "barnabee.deploy.bootCounting needs boot.loader.systemd-boot.enable",
    ),
    "a question that nobody would answer": (
        "manofwar",
        "{ barnabee.deploy.probe = true; }",
        "barnabee.deploy.probe asks the api",
    ),
    "upgrades to nowhere": (
        "beast",
        "{ barnabee.deploy.autoUpgrade = true; }",
        "barnabee.deploy.autoUpgrade has nothing to follow",
    ),
    "snapshots that leave the house unencrypted": (
        "barnabee-core",
        '{ barnabee.system.backup.offsite = "nas:barnabee"; }',
        "barnabee.system.backup.offsite would take snapshots out of the house unencrypted",
    ),
    "a second place that is no remote": (
        "barnabee-core",
        '{ barnabee.system.backup.offsite = "nas"; }',
        "barnabee.system.backup.offsite is nas, which names no remote",
    ),
    "a drill at the time of the snapshot": (
        "barnabee-core",
        '{ barnabee.system.backup.drill_at = "03:10"; }',
        "barnabee.system.backup.drill_at is the time of the snapshot",
    ),
    "recordings copied and none made": (
        "barnabee-core",
        '{ barnabee.system.backup.audio_to = "/mnt/nas"; }',
        "barnabee.system.backup.audio_to copies recordings, but",
    ),
    "no disk": (
        "manofwar",
        "{ lib, ... }: { barnabee.disk = lib.mkForce null; }",
        "barnabee.disk is not set",
    ),
}


@pytest.mark.parametrize(("host", "module", "says"), WRONG.values(), ids=WRONG.keys())
def test_it_is_refused_in_a_sentence(host: str, module: str, says: str) -> None:
    messages = evaluate(f'hosts.messages "{host}" ({module})')
    print(*messages, sep="\n")
    ours = [message for message in messages if message.startswith("barnabee.")]
    assert [message for message in ours if says in message]
    for message in ours:  # nixpkgs may have something to say as well
        assert message.endswith(".")
        assert "\n" not in message


NONSENSE = {
    "a word for a number": (
        '{ barnabee.system.service.api.port = "many"; }',
        "barnabee.system.service.api.port",
    ),
    "a number beyond its limit": (
        "{ barnabee.system.service.api.port = 70000; }",
        "between 1 and 65535",
    ),
    "a word that is none of those": (
        '{ barnabee.system.service.api.restart = "perhaps"; }',
        '"always", "on-failure", "never"',
    ),
    "a key that is unknown": (
        "{ barnabee.system.service.api.colour = 1; }",
        "barnabee.system.service.api.colour",
    ),
    "an option that is unknown": ("{ barnabee.piano = true; }", "`barnabee.piano' does not exist"),
    "a service without what it must have": (
        '{ barnabee.system.service.piano = { summary = "a"; role = "core"; probe = "tcp"; }; }',
        "barnabee.system.service.piano.",
    ),
}


@pytest.mark.parametrize(("module", "says"), NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_does_not_evaluate(module: str, says: str) -> None:
    done = attempt(f'(hosts.report "barnabee-core" ({module})).written')
    assert done.returncode != 0
    assert says in done.stderr
