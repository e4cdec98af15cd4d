# A second machine that takes over: the keeper of the lease (docs/reference/standby.md), and what systemd
# does by its signs, which are files in its runtime directory and go when it goes.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (house) graph;
  inherit (graph.service.redis) port;
  cfg = config.barnabee.standby;
  inherit (config.barnabee) name network dataDir;
  runtime = "/run/barnabee-lease";
  others = lib.filter (host: host != name) cfg.parties;
  here = cfg.enable && lib.elem name cfg.parties;
  waits = lib.elem name cfg.waiting;
  addressOf = host: network.addresses.${host} or "${host}.invalid";
  credentials = map (key: "${key}:${toString (config.barnabee.secrets.fileOf key)}") keys;
  keys = [
    "b2_key_id"
    "b2_application_key"
  ];

  running = [
    "barnabee.target"
    "barnabee-healthy.target"
    "barnabee-health.service"
  ];

  # What a unit of ours that is no node of the graph has in common with those that are.
  unit =
    {
      description,
      exec,
      serviceConfig,
    }:
    {
      inherit description;
      inherit (house) environment;
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
  once =
    description: arguments:
    unit {
      inherit description;
      exec = "${house.barnabee} standby ${arguments}";
      serviceConfig = {
        Type = "oneshot";
        UMask = "0022"; # the keeper's notes are no secret
        IPAddressDeny = "any";
      };
    };
  # Starts a unit when the keeper shows a sign.
  shown = sign: target: {
    description = "BarnabeeNet: ${target} while the sign ${sign} is shown";
    wantedBy = [ "multi-user.target" ];
    pathConfig = {
      PathExists = "${runtime}/${sign}";
      Unit = target;
    };
  };
  # Runs whether or not the house is served from here.
  always = {
    partOf = lib.mkForce [ ];
    wantedBy = lib.mkForce [ "multi-user.target" ];
  };
in
{
  config = lib.mkIf here {
    barnabee = {
      settings = {
        BARNABEE_LEASE_DIR = runtime;
        BARNABEE_LINE = "${dataDir}/line";
      }
      # The house's address comes and goes; the firewall says who reaches what.
      // lib.optionalAttrs (waits || name == cfg.carrier) { BARNABEE_BIND = "0.0.0.0"; };
      secrets.needed = keys;
      redis.peers = map addressOf others;
      network.rules = [
        {
          inherit port;
          from = others;
        }
      ];
    };

    users.users = lib.genAttrs [ "barnabee-lease" "barnabee-follow" ] (_: {
      isSystemUser = true;
      group = "barnabee";
    });

    # The keeper's sign starts them, and nothing else.
    systemd.targets.barnabee.wantedBy = lib.mkForce [ ];
    systemd.targets.barnabee-healthy.wantedBy = lib.mkForce [ ];

    systemd.paths = {
      barnabee-serve = shown "serve" "barnabee.target";
      barnabee-well = shown "serve" "barnabee-healthy.target";
      # Goes with the keeper: it would start litestream anew, and with it the keeper that is to stop.
      barnabee-replicate = shown "hold" "barnabee-litestream.service" // {
        wantedBy = [ "barnabee-lease.service" ];
        partOf = [ "barnabee-lease.service" ];
        after = [ "barnabee-lease.service" ];
      };
      barnabee-follow = shown "follow" "barnabee-follow.service";
    };

    systemd.services = {
      barnabee-lease =
        unit {
          description = "BarnabeeNet: keeps the lease without which nothing is written";
          exec = lib.concatStringsSep " " (
            [
              "${house.barnabee} standby keep --host ${name}"
              "--wish ${if waits then "follow" else "hold"}"
              "--writer ${house.socket}"
            ]
            ++ map (host: "--other ${host}") others
          );
          serviceConfig = {
            Type = "notify";
            NotifyAccess = "main";
            StateDirectory = "barnabee-lease";
            RuntimeDirectory = "barnabee-lease"; # gone with the keeper, and with it every sign
            UMask = "0022";
            LoadCredential = credentials;
            TimeoutStartSec = graph.standby.lease_s + 30;
            TimeoutStopSec = 5;
            # Not RestartMode=direct: whoever is bound to the keeper must stop when it ends.
            Restart = "always";
            RestartSec = "1s";
            WatchdogSec = graph.standby.lease_s; # shortened by the keeper to the time that its lease has left
            WatchdogSignal = "SIGKILL";
          };
        }
        // {
          wantedBy = [ "multi-user.target" ];
          startLimitIntervalSec = 0;
        };

      barnabee-follow =
        unit {
          description = "BarnabeeNet: fetches what the other machine writes";
          exec = "${house.barnabee} standby follow ${
            lib.concatMapStringsSep " " (host: "--redis ${host}=${addressOf host}:${toString port}") others
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
          # Whichever of them starts, the others have stopped before.
          conflicts = running;
          after = [ "network-online.target" ] ++ running ++ map (one: "barnabee-${one}.service") house.here;
        };

      barnabee-promote = once "BarnabeeNet: takes over as soon as the lease is free" "promote --no-wait";
      barnabee-demote = once "BarnabeeNet: gives up the lease" "demote --no-wait --no-aside";

      # Without its keeper nobody replicates; without the sign nobody begins to.
      barnabee-litestream = {
        bindsTo = [ "barnabee-lease.service" ];
        after = [ "barnabee-lease.service" ];
        wantedBy = lib.mkForce [ ];
        unitConfig.ConditionPathExists = "${runtime}/hold";
      };
      # Where nothing is served nothing is asked, and asking starts nothing.
      barnabee-health = {
        wants = lib.mkForce [ "network-online.target" ];
        unitConfig.ConditionPathExists = "${runtime}/serve";
      };
      barnabee-redis = always;
      barnabee-gpu = lib.mkIf (waits && house.runs "gpu") always; # its models are loaded already
    };
  };
}
