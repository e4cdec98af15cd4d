# A guest as an image for Proxmox: addresses come from the node, the disk from the image's format.
{ lib, ... }:
{
  networking.useDHCP = lib.mkDefault true;
}
