# A machine that watches the others.
{ lib, ... }:
{
  barnabee.fillers = lib.mkDefault null;
  services.journald.extraConfig = lib.mkDefault "SystemMaxUse=512M";
}
