# Guest as a disk image for a Proxmox VM, with its address: `create-guests.sh` needs no cloud-init.
{ config, inputs, ... }:
let
  inherit (config.barnabee) name network proxmox;
in
{
  imports = [
    inputs.nixos-generators.nixosModules.qcow-efi
    ./form-image.nix
  ];
  boot.loader.systemd-boot.enable = true; # counts boots
  networking = {
    useDHCP = false;
    useNetworkd = true;
  };
  systemd.network.networks."10-proxmox" = {
    matchConfig.Type = "ether";
    address = [ "${network.addresses.${name}}/24" ];
    gateway = [ proxmox.gateway ];
    dns = [ proxmox.gateway ];
  };
}
