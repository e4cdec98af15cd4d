# Units of standby operation: lease keeper, follower, promotion and demotion.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph barnabee;
  cfg = config.barnabee.standby;
  inherit (config.barnabee) name network dataDir;
  peers = lib.filter (host: host != name) cfg.members;
  desiredRole = if lib.elem name cfg.standbyHosts then "follow" else "hold";
  addressOf = host: network.addresses.${host} or "${host}.invalid";
  redisOf = host: "${addressOf host}:${toString graph.service.redis.port}";
  secrets = [
    "b2_key_id"
    "b2_application_key"
  ];
  credentials = map (secret: "${secret}:${toString (config.barnabee.secrets.fileOf secret)}") secrets;

  unit =
    {
      description,
      exec,
      serviceConfig,
    }:
    {
      description = "BarnabeeNet: ${description}";
      inherit (barnabeeLib) environment;
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      serviceConfig =
        import ../lib/hardening.nix
        // {
          ExecStart = exec;
          User = "barnabee-lease";
          Group = "barnabee";
          Slice = "barnabee.slice";
          MemoryMax = "256M";
          ReadWritePaths = [ "-/var/lib/barnabee-lease" ];
        }
        // serviceConfig;
    };
  oneshot =
    description: arguments:
    unit {
      inherit description;
      exec = "${barnabee} standby ${arguments}";
      serviceConfig = {
        Type = "oneshot";
        UMask = "0022"; # the keeper's state files are readable for all
        IPAddressDeny = "any";
      };
    };
in
{
  config = lib.mkIf (cfg.enable && lib.elem name cfg.members) {
    barnabee.secrets.needed = secrets;
    users.users = lib.genAttrs [ "barnabee-lease" "barnabee-follow" ] (_: {
      isSystemUser = true;
      group = "barnabee";
    });

    systemd.services = {
      barnabee-lease =
        unit {
          description = "write lease keeper";
          exec = lib.concatStringsSep " " (
            [
              "${barnabee} standby keep --host ${name}"
              "--desired-role ${desiredRole}"
              "--writer ${barnabeeLib.litestreamSocket}"
            ]
            ++ map (host: "--other ${host}") peers
          );
          serviceConfig = {
            Type = "notify";
            NotifyAccess = "main";
            StateDirectory = "barnabee-lease";
            RuntimeDirectory = "barnabee-lease"; # removed, with every role file, when the keeper stops
            UMask = "0022";
            LoadCredential = credentials;
            TimeoutStartSec = graph.standby.lease_s + 30;
            TimeoutStopSec = 5;
            # Not RestartMode=direct: units bound to the keeper must stop when it ends.
            Restart = "always";
            RestartSec = "1s";
            WatchdogSec = graph.standby.lease_s; # the keeper shortens it to the rest of its lease
            WatchdogSignal = "SIGKILL";
          };
        }
        // {
          wantedBy = [ "multi-user.target" ];
          startLimitIntervalSec = 0;
        };

      barnabee-follow =
        unit {
          description = "follower of the primary's data";
          exec = "${barnabee} standby follow ${
            lib.concatMapStringsSep " " (host: "--redis ${host}=${redisOf host}") peers
          }";
          serviceConfig = {
            User = "barnabee-follow";
            LoadCredential = credentials;
            MemoryMax = "512M";
            ReadWritePaths = [ dataDir ];
            Restart = "always";
            RestartSec = "5s";
          };
        }
        // {
          startLimitIntervalSec = 0; # its path unit ends at a limit, and with it the copy
          conflicts = barnabeeLib.servingUnits;
          after = [ "network-online.target" ] ++ barnabeeLib.servingUnits;
        };

      barnabee-promote = oneshot "promotion when the lease is free" "promote --no-wait";
      barnabee-demote = oneshot "release of the lease" "demote --no-wait --no-aside";
    };
  };
}
