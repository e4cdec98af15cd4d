# A second machine that takes over: the keeper of the lease, and what systemd does by its signs. Which
# machine may write is settled in the replica's bucket (docs/reference/standby.md); the keeper shows
# what follows from it as files in its runtime directory, which go when it goes.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (house) graph graphs;
  cfg = config.barnabee.standby;
  inherit (config.barnabee) name network dataDir;
  table = graph.standby;
  runtime = "/run/barnabee-lease";
  others = lib.filter (host: host != name) cfg.parties;
  here = cfg.enable && lib.elem name cfg.parties;
  waits = lib.elem name cfg.waiting;
  addressOf = host: network.addresses.${host} or "${host}.invalid";
  redisPort = toString graph.service.redis.port;
  credentials = map (secret: "${secret}:${toString (config.barnabee.secrets.fileOf secret)}") keys;
  keys = [
    "b2_key_id"
    "b2_application_key"
  ];

  # What a unit of ours that is no node of the graph has in common with those that are.
  unit =
    { description, exec, serviceConfig }:
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
      health.start = false; # the keeper's sign does
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
          inherit (graph.service.redis) port;
          from = others;
        }
      ];
    };

    users.users = lib.genAttrs [ "barnabee-lease" "barnabee-follow" ] (_: {
      isSystemUser = true;
      group = "barnabee";
    });

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
      barnabee-lease = lib.recursiveUpdate (unit {
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
          TimeoutStartSec = table.lease_s + 30;
          TimeoutStopSec = 5;
          # Not RestartMode=direct: whoever is bound to the keeper must stop when it ends.
          Restart = "always";
          RestartSec = "1s";
          WatchdogSec = table.lease_s; # shortened by the keeper to the time that its lease has left
          WatchdogSignal = "SIGKILL";
        };
      }) { wantedBy = [ "multi-user.target" ]; startLimitIntervalSec = 0; };

      barnabee-follow =
        let
          services = map (service: "barnabee-${service}.service") house.here;
          running = [
            "barnabee.target"
            "barnabee-healthy.target"
            "barnabee-health.service"
          ];
        in
        lib.mkMerge [
          (unit {
            description = "BarnabeeNet: fetches what the other machine writes";
            exec = "${house.barnabee} standby follow ${
              lib.concatMapStringsSep " " (host: "--redis ${host}=${addressOf host}:${redisPort}") others
            }";
            serviceConfig = {
              User = "barnabee-follow";
              LoadCredential = credentials;
              MemoryMax = "512M";
              ReadWritePaths = [ dataDir ];
              Restart = "always";
              RestartSec = "5s";
            };
          })
          {
            # Whichever of them starts, the others have stopped before.
            conflicts = running;
            after = running ++ services;
          }
        ];

      barnabee-promote = once "BarnabeeNet: takes over as soon as the lease is free" "promote --no-wait";
      barnabee-demote = once "BarnabeeNet: gives up the lease" "demote --no-wait --no-aside";

      # Without its keeper nobody replicates; without the sign nobody begins to.
      barnabee-litestream = {
        bindsTo = [ "barnabee-lease.service" ];
        after = [ "barnabee-lease.service" ];
        wantedBy = lib.mkForce [ ];
        unitConfig.ConditionPathExists = "${runtime}/hold";
      };
      barnabee-redis = always;
      barnabee-gpu = lib.mkIf (waits && house.runs "gpu") always; # its models are loaded already
    };

    assertions = [
      {
        assertion = lib.length (lib.unique (map addressOf cfg.parties)) == lib.length cfg.parties;
        message = "barnabee.network.addresses makes the stand-by equal to the primary: ${lib.concatStringsSep " and " cfg.parties} have the same address; give each its own.";
      }
      {
        assertion = waits && !config.boot.isContainer -> network.link != null;
        message = "barnabee.network.link is not set: name the interface of ${name} that leads to ${lib.concatStringsSep ", " others}.";
      }
      {
        assertion = table.lease_s - table.stop_s >= table.renew_s + 3 * table.request_limit_ms / 1000;
        message = "barnabee.system.standby.lease_s leaves no time for a renewal that fails once before writing must stop; raise it.";
      }
      {
        assertion = table.stop_s > graph.service.litestream.stop_timeout_s;
        message = "barnabee.system.standby.stop_s is not above barnabee.system.service.litestream.stop_timeout_s, which it must see through; raise it.";
      }
    ];
  };
}
