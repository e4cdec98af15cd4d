# Sessions and the queue of jobs. Valkey, because that is what the whole house was run on beside
# Redis 7.0; `appendfsync no`, because "everysec" loses answered commands (docs/reference/store.md).
{
  config,
  lib,
  pkgs,
  house,
  ...
}:
let
  cfg = config.barnabee.redis;
  shared = cfg.peers != [ ];
  # The same as up/node_commands.py tells it (tests/nix compares).
  options = {
    bind = lib.concatStringsSep " " ([ "127.0.0.1" ] ++ lib.optional shared house.address);
    port = toString house.graph.service.redis.port;
    supervised = "systemd";
    dir = "/var/lib/barnabee-redis";
    appendonly = "yes";
    appendfsync = "no";
    save = "";
    maxmemory = "${toString cfg.maxMemoryMib}mb";
    maxmemory-policy = "noeviction";
  }
  # It has no password: the firewall and the unit let in its peers alone.
  // lib.optionalAttrs shared { protected-mode = "no"; };
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
      description = "The server. What Valkey wrote, Redis 7.0 cannot read.";
      example = lib.literalExpression "\${pkgs.redis}/bin/redis-server";
    };
    maxMemoryMib = lib.mkOption {
      type = lib.types.ints.positive;
      default = 512;
      description = "How much data it may hold; the unit's own limit leaves room to rewrite its log.";
      example = 256;
    };
    peers = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = "Addresses of the machines whose Redis copies this one, or is copied by it.";
      example = [ "10.77.0.3" ];
    };
  };

  config = lib.mkIf (house.runs "redis") {
    systemd.services.barnabee-redis = house.mkService "redis" {
      exec = "${cfg.program} ${lib.escapeShellArgs arguments}";
      ours = false;
      serviceConfig = {
        StateDirectory = "barnabee-redis";
        StateDirectoryMode = "0700";
        IPAddressAllow = [ "localhost" ] ++ cfg.peers ++ lib.optional shared house.address;
        LimitNOFILE = 65536;
      };
    };

    # Without it a rewrite of the log can fail though memory is there.
    boot.kernel.sysctl."vm.overcommit_memory" = lib.mkIf (!config.boot.isContainer) (lib.mkDefault "1");

    assertions = [
      {
        assertion = cfg.maxMemoryMib < house.graph.service.redis.memory_max_mib;
        message = "barnabee.redis.maxMemoryMib is not below barnabee.system.service.redis.memory_max_mib; the rewrite of its log would be killed: lower it.";
      }
    ];
  };
}
