# Switch: a running system is replaced by a healthy one, and an unhealthy one is replaced by it again.
{
  lib,
  machines,
  pkgs,
  ...
}:
{
  machines = {
    inherit (machines) backup gpu;
    core =
      { extendModules, ... }:
      let
        changed = change: (extendModules { modules = [ change ]; }).config.system.build.toplevel;
      in
      {
        imports = [ machines.core ];
        # Containers have no specialisations.
        options.next = lib.mkOption { type = lib.types.attrsOf lib.types.package; };
        config = {
          system.switch.enable = true;
          barnabee.system.deploy = {
            settle_s = 45; # the bad system never recovers
            watch_every_s = 5;
          };
          next = lib.mapAttrs (_: changed) {
            good.systemd.services.barnabee-worker.environment.GENERATION = "good";
            bad = {
              barnabee.health.waitSeconds = 10;
              systemd.services.barnabee-api.serviceConfig.ExecStart =
                lib.mkForce "/run/current-system/sw/bin/false";
            };
            broken.system.activationScripts.broken.text = "false";
          };
        };
      };
  };
  constants =
    { core, ... }:
    {
      GOOD = core.next.good;
      BAD = core.next.bad;
      BROKEN = core.next.broken;
      REGISTRATION = "${
        pkgs.closureInfo { rootPaths = [ core.system.build.toplevel ] ++ lib.attrValues core.next; }
      }/registration";
    };
}
