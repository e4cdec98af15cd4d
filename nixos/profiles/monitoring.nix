# Host with the role monitoring.
{ lib, ... }:
{
  barnabee.fillers = lib.mkDefault null;
  services.journald.extraConfig = lib.mkDefault "SystemMaxUse=512M";
}
