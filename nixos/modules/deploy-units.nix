# The units that a switch has started: a spoken question, a pin of the database, the way back to one.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (house) graph;
  cfg = config.barnabee.deploy;
  inherit (config.barnabee.secrets) fileOf;
  data = credentials: description: command: {
    inherit description;
    inherit (house) environment;
    serviceConfig = import ../lib/hardening.nix // {
      Type = "oneshot";
      User = "barnabee-restore";
      Group = "barnabee";
      ExecStart = "${house.barnabee} ${command}";
      TimeoutStartSec = graph.deploy.data_s;
      MemoryMax = "${toString graph.service.restore.memory_max_mib}M";
      ReadWritePaths = [ config.barnabee.dataDir ];
      LoadCredential = map (name: "${name}:${fileOf name}") (
        lib.filter (name: fileOf name != null) credentials
      );
    };
  };
in
{
  config = lib.mkMerge [
    (lib.mkIf cfg.probe {
      systemd.services.barnabee-probe = {
        description = "BarnabeeNet: a spoken question, answered aloud";
        inherit (house) environment;
        startLimitIntervalSec = 0;
        serviceConfig =
          import ../lib/hardening.nix
          // {
            Type = "oneshot";
            DynamicUser = true;
            ExecStart = "${house.barnabee} probe";
            LoadCredential = [ "api_token:${fileOf "api_token"}" ];
            TimeoutStartSec = 3 * graph.probe.limit_ms / 1000 + 15;
            MemoryMax = "512M";
          }
          // house.inside;
      };
    })

    # Where the database is written; the machine beneath a guest asks for these in it.
    (lib.mkIf (house.runs "restore") {
      systemd.services.barnabee-pin =
        data [ ] "BarnabeeNet: remembers the database of this moment"
          "backup pin --reason 'before a switch'";
      systemd.services."barnabee-rollback-data@" =
        data graph.service.restore.credentials "BarnabeeNet: puts the database back to pin %i"
          "rollback-data %i";
    })
  ];
}
