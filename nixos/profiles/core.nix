# Host with the role core: API, voice, Redis, workers, database, reverse proxy.
{ lib, pkgs, ... }:
{
  barnabee.proxy.dashboard = lib.mkDefault pkgs.barnabee-dashboard;
  time.timeZone = lib.mkDefault "UTC";
  zramSwap.enable = lib.mkDefault false; # the services' memory limits include swap
}
