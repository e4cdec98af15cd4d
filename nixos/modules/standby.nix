# Standby operation: systemd starts and stops services by the role files that the lease keeper writes to
# its runtime directory. docs/reference/standby.md
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee.standby;
  inherit (config.barnabee) name network;
  runtimeDirectory = "/run/barnabee-lease"; # RuntimeDirectory of standby-units.nix
  peers = lib.filter (host: host != name) cfg.members;
  isStandby = lib.elem name cfg.standbyHosts;
  addressOf = host: network.addresses.${host} or "${host}.invalid";

  # Starts `unit` while the role file exists.
  startForRole = role: unit: {
    description = "BarnabeeNet: start ${unit} in the role ${role}";
    wantedBy = [ "multi-user.target" ];
    pathConfig = {
      PathExists = "${runtimeDirectory}/${role}";
      Unit = unit;
    };
  };
  replicaUnits = map (name: "barnabee-${name}") [
    "api"
    "drill"
    "litestream"
    "restore"
    "snapshot"
    "worker"
  ];
  # A service that runs in every role.
  inEveryRole = {
    partOf = lib.mkForce [ ];
    wantedBy = lib.mkForce [ "multi-user.target" ];
  };
in
{
  config = lib.mkIf (cfg.enable && lib.elem name cfg.members) {
    barnabee = {
      settings = {
        BARNABEE_LEASE_DIR = runtimeDirectory;
      }
      # The virtual IP address moves between hosts; the firewall limits who can connect.
      // lib.optionalAttrs (isStandby || name == cfg.virtualIpHost) { BARNABEE_BIND = "0.0.0.0"; };
      redis.peers = map addressOf peers;
      network.rules = [
        {
          inherit (barnabeeLib.graph.service.redis) port;
          from = peers;
        }
      ];
    };

    # Only the path units below start these targets.
    systemd.targets.barnabee.wantedBy = lib.mkForce [ ];
    systemd.targets.barnabee-healthy.wantedBy = lib.mkForce [ ];

    systemd.paths = {
      barnabee-serve = startForRole "serve" "barnabee.target";
      barnabee-healthy = startForRole "serve" "barnabee-healthy.target";
      # Stops with the keeper: otherwise it restarts litestream, which starts the keeper again.
      barnabee-replicate = startForRole "hold" "barnabee-litestream.service" // {
        wantedBy = [ "barnabee-lease.service" ];
        partOf = [ "barnabee-lease.service" ];
        after = [ "barnabee-lease.service" ];
        # By default path units start before all services, which would be a cycle.
        unitConfig.DefaultDependencies = false;
        conflicts = [ "shutdown.target" ];
        before = [ "shutdown.target" ];
      };
      barnabee-follow = startForRole "follow" "barnabee-follow.service";
    };

    systemd.services = lib.mkMerge [
      (lib.genAttrs replicaUnits (_: {
        environment = barnabeeLib.replicaEnvironment;
      }))
      {
        # Runs only beside the keeper, and starts only in the role hold.
        barnabee-litestream = {
          bindsTo = [ "barnabee-lease.service" ];
          after = [ "barnabee-lease.service" ];
          wantedBy = lib.mkForce [ ];
          unitConfig.ConditionPathExists = "${runtimeDirectory}/hold";
        };
        # A health check must not start the services of a follower.
        barnabee-health = {
          wants = lib.mkForce [
            "network-online.target"
            "barnabee-tokens.service"
          ];
        };
        barnabee-redis = inEveryRole;
        # The standby preloads its models.
        barnabee-gpu = lib.mkIf (isStandby && barnabeeLib.runsService "gpu") inEveryRole;
      }
    ];
  };
}
