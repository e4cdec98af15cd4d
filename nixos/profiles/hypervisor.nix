# Physical host that runs the guests.
{ inputs, lib, ... }:
{
  imports = [
    inputs.microvm.nixosModules.host
    ../modules/guests.nix
    ../modules/disk.nix
  ];
  boot.loader.systemd-boot.enable = lib.mkDefault true;
  boot.loader.efi.canTouchEfiVariables = lib.mkDefault true;
  barnabee.fillers = lib.mkDefault null;
}
