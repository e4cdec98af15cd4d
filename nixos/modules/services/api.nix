# Commands, sessions, the record of turns.
{
  config,
  lib,
  house,
  ...
}:
{
  config = lib.mkIf (house.runs "api") {
    systemd.services.barnabee-api = house.mkService "api" {
      exec = "${house.python} -m barnabee.api";
      group = "barnabee";
      outbound = true; # Home Assistant and Azure OpenAI
      writes = [ config.barnabee.dataDir ];
    };
  };
}
