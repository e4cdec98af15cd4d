# Standby host: the same services on the CPU, started when it is promoted (docs/reference/standby.md).
# Its models are always loaded.
{ lib, pkgs, ... }:
{
  barnabee.gpu.enable = lib.mkDefault false;
  barnabee.package = lib.mkDefault pkgs.barnabee;
  zramSwap.enable = lib.mkDefault false; # the services' memory limits include swap
}
