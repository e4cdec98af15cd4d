# Guest as a microvm with the GPU: qemu's q35 machine, the host's CPU model, the GPU's functions as PCI
# Express devices. (Proxmox' pcie=1 is q35; x-vga=1 is for displays, and this GPU has none.)
{
  config,
  inputs,
  lib,
  ...
}:
let
  inherit (config.barnabee) name passthrough secrets;
in
{
  imports = [
    inputs.microvm.nixosModules.microvm
    ./form-guest.nix
    ./form-microvm-network.nix
  ];

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
}
