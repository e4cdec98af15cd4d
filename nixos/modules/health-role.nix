# Checks wait, without a process of Python, until what they ask can answer; a host that follows its standby runs
# no API and is not asked. A hypervisor looks for the role of its guest.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph graphLib;
  inherit (config.barnabee) health name standby;
  coreHost = toString (graphLib.hostOf graph "api");
  mayFollow = host: standby.enable && lib.elem host standby.members;
  isContainer = (config.barnabee.guests or { }).${coreHost}.kind or null == "container";
  # "+": as root, which alone sees the files of a container and asks systemd without D-Bus.
  awaitRole =
    flags:
    "+${pkgs.runtimeShell} ${../scripts/await-role.sh} ${flags} ${toString health.waitSeconds}";
  guestFlags = "-g ${toString health.guest}";
  ownFlags =
    lib.optionalString (mayFollow name) "-r "
    + lib.optionalString (barnabeeLib.runsService "api") "-u barnabee-api.service";
  withoutGuest = "/run/barnabee-health.env";
in
{
  options.barnabee.health.guest = lib.mkOption {
    type = lib.types.nullOr lib.types.str;
    default = if isContainer && mayFollow coreHost then coreHost else null;
    internal = true;
    description = "Container of this hypervisor that runs the API unless it follows the standby.";
    example = "barnabee-core";
  };

  config.systemd.services = lib.mkMerge [
    (lib.mkIf (mayFollow name) {
      barnabee-health.serviceConfig.ExecCondition = awaitRole "-r";
    })
    (lib.mkIf (health.guest != null) {
      barnabee-health.serviceConfig = {
        ExecStartPre = awaitRole "${guestFlags} -e ${withoutGuest}";
        EnvironmentFile = "-${withoutGuest}";
      };
    })
    (lib.mkIf (config.barnabee.deploy.probe && (health.guest != null || ownFlags != "")) {
      barnabee-probe.serviceConfig.ExecCondition = awaitRole (
        if health.guest != null then guestFlags else ownFlags
      );
    })
  ];
}
