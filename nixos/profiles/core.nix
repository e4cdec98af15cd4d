# A machine that talks: API, voice, Redis, workers, the database, the door.
{ lib, pkgs, ... }:
{
  barnabee.proxy.dashboard = lib.mkDefault pkgs.barnabee-dashboard;
  time.timeZone = lib.mkDefault "UTC";
  zramSwap.enable = lib.mkDefault false; # limits of memory are meant
}
