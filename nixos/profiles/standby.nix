# A machine that waits: the same services on its processor, started when it takes over and never before
# (docs/reference/standby.md). Its models are loaded all the time.
{ lib, pkgs, ... }:
{
  barnabee.gpu.card = lib.mkDefault false;
  barnabee.package = lib.mkDefault pkgs.barnabee;
  zramSwap.enable = lib.mkDefault false; # limits of memory are meant
}
