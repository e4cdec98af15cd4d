# Guest as a Proxmox image: the node sets the address, the image format the disk.
{ lib, ... }:
{
  networking.useDHCP = lib.mkDefault true;
}
