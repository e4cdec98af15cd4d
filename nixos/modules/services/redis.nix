# Redis: sessions and the job queue. Valkey by default, which the tests use beside Redis 7.0;
# `appendfsync no`, because "everysec" loses acknowledged writes (docs/reference/store.md). Its users' passwords
# are generated at each boot; that of the other machine is derived from the replica's key, which both have.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee.redis;
  hasPeers = cfg.peers != [ ];
  hasExporter = config.services.prometheus.exporters.redis.enable;
  users = [
    "api"
    "worker"
  ]
  ++ lib.optionals hasPeers [
    "standby"
    "peer"
  ]
  ++ lib.optional hasExporter "exporter";
  loadPassword =
    user: "redis_${user}_password:${config.barnabee.secrets.fileOf "redis_${user}_password"}";
  # Not `requires`: a unit that was never started has not failed, and barnabee-supervisor would leave it.
  needsPasswords = {
    after = [ "barnabee-redis-passwords.service" ];
    wants = [ "barnabee-redis-passwords.service" ];
  };
  withPasswords =
    names: needsPasswords // { serviceConfig.LoadCredential = map loadPassword names; };
  server = "${barnabeeLib.python} -m barnabee.up.redis_server";
  # The same options as in up/redis_server.py (tests/nix compares).
  options = {
    bind = lib.concatStringsSep " " ([ "127.0.0.1" ] ++ lib.optional hasPeers barnabeeLib.hostAddress);
    port = toString barnabeeLib.graph.service.redis.port;
    supervised = "systemd";
    dir = "/var/lib/barnabee-redis";
    appendonly = "yes";
    appendfsync = "no";
    save = "";
    maxmemory = "${toString cfg.maxMemoryMib}mb";
    maxmemory-policy = "noeviction";
  }
  # The only user without a password may only PING; the firewall and the unit accept connections from its peers only.
  // lib.optionalAttrs hasPeers { protected-mode = "no"; };
  arguments = lib.concatLists (
    lib.mapAttrsToList (key: value: [
      "--${key}"
      value
    ]) options
  );
in
{
  options.barnabee.redis = {
    program = lib.mkOption {
      type = lib.types.str;
      default = "${pkgs.valkey}/bin/valkey-server";
      defaultText = lib.literalExpression "\${pkgs.valkey}/bin/valkey-server";
      description = "Server program. Redis 7.0 cannot read data that Valkey wrote.";
      example = lib.literalExpression "\${pkgs.redis}/bin/redis-server";
    };
    maxMemoryMib = lib.mkOption {
      type = lib.types.ints.positive;
      default = 512;
      description = "Maximum size of the data; the unit's memory limit must leave room for the rewrite of the append-only file.";
      example = 256;
    };
    peers = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = "Addresses of the hosts whose Redis replicates this one, or is replicated by it.";
      example = [ "10.77.0.3" ];
    };
  };

  config = lib.mkIf (barnabeeLib.runsService "redis") {
    systemd.services = {
      barnabee-redis-passwords = {
        description = "BarnabeeNet: passwords of Redis' users";
        environment = { inherit (barnabeeLib.environment) REDIS_URL; };
        startLimitIntervalSec = 0;
        serviceConfig = import ../../lib/hardening.nix // {
          Type = "oneshot";
          RemainAfterExit = true;
          Restart = "on-failure";
          RestartSec = 10;
          ExecStart = "${server} passwords /run/barnabee-redis-passwords ${lib.concatStringsSep " " users}";
          User = "barnabee-redis";
          Group = "barnabee-redis";
          RuntimeDirectory = "barnabee-redis-passwords";
          RuntimeDirectoryMode = "0700";
          RuntimeDirectoryPreserve = true;
          LoadCredential = lib.optional hasPeers "b2_application_key:${config.barnabee.secrets.fileOf "b2_application_key"}";
          IPAddressDeny = "any";
          MemoryMax = "128M";
        };
      };

      barnabee-redis = lib.mkMerge [
        needsPasswords
        { serviceConfig.LoadCredential = map loadPassword (lib.drop 2 users); }
        (barnabeeLib.mkService "redis" {
          exec = "${server} ${cfg.program} ${lib.escapeShellArgs arguments}";
          ours = false;
          serviceConfig = {
            StateDirectory = "barnabee-redis";
            StateDirectoryMode = "0700";
            RuntimeDirectory = "barnabee-redis";
            RuntimeDirectoryMode = "0700";
            IPAddressAllow = [ "localhost" ] ++ cfg.peers ++ lib.optional hasPeers barnabeeLib.hostAddress;
            LimitNOFILE = 65536;
          };
        })
      ];
      barnabee-api = lib.mkIf (barnabeeLib.runsService "api") needsPasswords;
      barnabee-worker = lib.mkIf (barnabeeLib.runsService "worker") needsPasswords;
    }
    // lib.optionalAttrs hasPeers {
      barnabee-restore = withPasswords [ "standby" ];
      barnabee-follow = withPasswords [
        "standby"
        "peer"
      ];
    };

    # Otherwise the rewrite of the append-only file can fail although memory is free.
    boot.kernel.sysctl."vm.overcommit_memory" = lib.mkIf (!config.boot.isContainer) (lib.mkDefault "1");

    assertions = [
      {
        assertion = cfg.maxMemoryMib < barnabeeLib.graph.service.redis.memory_max_mib;
        message = "barnabee.redis.maxMemoryMib is not below barnabee.system.service.redis.memory_max_mib, so the rewrite of the append-only file would run out of memory; lower it.";
      }
    ];
  };
}
