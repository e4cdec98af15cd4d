# Guest as a disk image for a Proxmox VM, with its address: `create-guests.sh` needs no cloud-init.
{ config, modulesPath, ... }:
let
  inherit (config.barnabee) name network proxmox;
in
{
  imports = [
    (modulesPath + "/profiles/qemu-guest.nix")
    (modulesPath + "/virtualisation/disk-image.nix")
    ./form-image.nix
  ];
  boot.kernelParams = [ "console=ttyS0" ]; # qm terminal
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
