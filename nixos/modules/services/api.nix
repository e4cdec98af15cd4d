# API service: commands, sessions, turn history.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
{
  config = lib.mkIf (barnabeeLib.runsService "api") {
    systemd.services.barnabee-api = barnabeeLib.mkService "api" {
      group = "barnabee";
      outbound = true; # Home Assistant and the language model
      writes = [ config.barnabee.dataDir ];
    };
  };
}
