# Guest as a microvm with the GPU: qemu's q35 machine, the host's CPU model, the GPU's functions as PCI
# Express devices. (Proxmox' pcie=1 is q35; x-vga=1 is for displays, and this GPU has none.)
{
  config,
  inputs,
  lib,
  ...
}:
let
  inherit (config.barnabee)
    name
    network
    passthrough
    secrets
    ;
  address = network.addresses.${name};
in
{
  imports = [ inputs.microvm.nixosModules.microvm ];

  barnabee.deploy.enable = false; # part of the hypervisor's system
  # The hypervisor passes the secrets (modules/guest-secrets.nix); the guest has no sops key.
  barnabee.secrets = {
    sopsFile = null;
    directory = "/run/credentials/@system";
  };

  microvm = {
    credentialFiles = lib.genAttrs secrets.used (
      secret: "/run/credentials/microvm@${name}.service/${secret}"
    );
    hypervisor = lib.mkDefault "qemu";
    cpu = lib.mkDefault "host";
    vcpu = lib.mkDefault 8;
    mem = lib.mkDefault 16384;
    qemu.machine = "q35";
    devices = map (path: {
      bus = "pci";
      inherit path;
    }) passthrough.addresses;
    interfaces = [
      {
        type = "tap";
        id = "vm-gpu";
        mac = "02:00:00:77:00:0b";
      }
    ];
    shares = [
      {
        proto = "virtiofs";
        tag = "store";
        source = "/nix/store";
        mountPoint = "/nix/.ro-store";
      }
    ];
    volumes = [
      {
        image = "state.img";
        mountPoint = "/var";
        size = 8192;
      }
    ];
  };

  networking.useDHCP = false;
  networking.useNetworkd = true;
  systemd.network.networks."10-bridge" = {
    matchConfig.MACAddress = "02:00:00:77:00:0b";
    address = [ "${address}/24" ];
    gateway = [ network.addresses.${network.gateway} ];
    dns = [ network.addresses.${network.gateway} ];
  };
}
