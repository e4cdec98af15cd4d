# Units that a deployment starts: voice probe, restore point of the database, rollback to a restore point.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph;
  inherit (config.barnabee.secrets) fileOf;
  databaseUnit = description: credentials: command: {
    description = "BarnabeeNet: ${description}";
    environment = barnabeeLib.environment // barnabeeLib.replicaEnvironment;
    serviceConfig = import ../lib/hardening.nix // {
      Type = "oneshot";
      User = "barnabee-restore";
      Group = "barnabee";
      ExecStart = "${barnabeeLib.barnabee} ${command}";
      TimeoutStartSec = graph.deploy.data_s;
      MemoryMax = "${toString graph.service.restore.memory_max_mib}M";
      ReadWritePaths = [ config.barnabee.dataDir ];
      LoadCredential = map (name: "${name}:${fileOf name}") (
        lib.filter (name: fileOf name != null) credentials
      );
    };
  };
  # The path units of a standby would start the services again during the restore.
  stopped = barnabeeLib.servingUnits ++ config.barnabee.standby.servingPaths;
in
{
  config = lib.mkMerge [
    (lib.mkIf config.barnabee.deploy.probe {
      systemd.services.barnabee-probe = {
        description = "BarnabeeNet: voice probe";
        inherit (barnabeeLib) environment;
        after = lib.optional (barnabeeLib.runsService "api") "barnabee-tokens.service";
        wants = lib.optional (barnabeeLib.runsService "api") "barnabee-tokens.service";
        startLimitIntervalSec = 0;
        serviceConfig =
          import ../lib/hardening.nix
          // {
            Type = "oneshot";
            DynamicUser = true;
            ExecStart = "${barnabeeLib.barnabee} probe";
            # A hypervisor has only its guests' secrets.
            LoadCredential = map (name: "${name}:${fileOf name}") (
              if barnabeeLib.runsService "api" then
                [
                  "talk_token"
                  "infer_token"
                ]
              else
                [ "api_token" ]
            );
            TimeoutStartSec = config.barnabee.health.waitSeconds + 3 * graph.probe.limit_ms / 1000 + 15;
            MemoryMax = "512M";
          }
          // barnabeeLib.privateNetworkOnly;
      };
    })

    # On the host that writes the database; a hypervisor starts them in its guest.
    (lib.mkIf (barnabeeLib.runsService "restore") {
      systemd.services.barnabee-pin =
        databaseUnit "restore point of the database" [ ]
          "backup pin --reason 'before a switch'";
      systemd.services."barnabee-rollback-data@" =
        databaseUnit "rollback of the database to restore point %i" graph.service.restore.credentials
          "rollback-data %i"
        // {
          conflicts = stopped;
          after = stopped;
        };
    })
  ];
}
