# Brings the database back before anything opens it; nothing starts on an empty one by mistake.
{
  config,
  lib,
  house,
  ...
}:
{
  config = lib.mkIf (house.runs "restore") {
    systemd.services.barnabee-restore = house.mkService "restore" {
      exec = "${house.barnabee} restore --if-missing";
      group = "barnabee";
      readiness = "exit";
      outbound = true; # the bucket
      writes = [ config.barnabee.dataDir ];
    };
  };
}
