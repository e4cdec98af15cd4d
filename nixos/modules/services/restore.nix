# Restore of a missing database from its replica, before any service opens it.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
{
  config = lib.mkIf (barnabeeLib.runsService "restore") {
    systemd.services.barnabee-restore = barnabeeLib.mkService "restore" {
      exec = "${barnabeeLib.barnabee} restore --if-missing";
      group = "barnabee";
      readiness = "exit";
      outbound = true; # the replica's bucket
      writes = [ config.barnabee.dataDir ];
    };
  };
}
