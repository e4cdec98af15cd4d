# Records turns, expires what is old.
{
  config,
  lib,
  house,
  ...
}:
{
  config = lib.mkIf (house.runs "worker") {
    systemd.services.barnabee-worker = house.mkService "worker" {
      exec = "${house.python} -m barnabee.workers";
      group = "barnabee";
      writes = [ config.barnabee.dataDir ];
    };
  };
}
