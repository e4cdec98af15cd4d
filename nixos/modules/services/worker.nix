# Worker service: background jobs, retention, voice probe.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
{
  config = lib.mkIf (barnabeeLib.runsService "worker") {
    systemd.services.barnabee-worker = barnabeeLib.mkService "worker" {
      group = "barnabee";
      writes = [ config.barnabee.dataDir ];
    };
  };
}
