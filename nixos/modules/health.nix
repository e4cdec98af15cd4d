# When is this machine well? barnabee.target starts the services; barnabee-healthy.target is reached
# once every service here, and every service elsewhere that these call, says that it is well.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (house) graph graphs here;
  cfg = config.barnabee.health;
  roles = config.barnabee.roles;
  calls = lib.concatMap (name: graph.service.${name}.needs ++ graph.service.${name}.wants) here;
  asked = service: graph.service ? ${service} && graph.service.${service}.probe != "exit";
  placed = service: graphs.hostOf graph service != null;
  # A redis elsewhere is asked by nobody but its own machine.
  reachable = service: house.runs service || graph.service.${service}.probe != "redis";
  everything = lib.elem "hypervisor" roles;
  services = lib.filter (service: asked service && placed service && reachable service) (
    if everything then lib.attrNames graph.service else lib.unique (here ++ calls)
  );
  at = lib.concatMapStringsSep " " (service: "--at ${service}=${house.addressOf service}") services;
  # What a look at the services needs, and no more.
  look = {
    after = [
      "barnabee.target"
      "network-online.target"
    ]
    ++ map (service: "barnabee-${service}.service") here;
    wants = [
      "barnabee.target"
      "network-online.target"
    ];
    inherit (house) environment;
  };
  hardened = import ../lib/hardening.nix // {
    Type = "oneshot";
    DynamicUser = true;
    MemoryMax = "256M";
  };
  given = lib.filter (credential: config.barnabee.secrets.fileOf credential != null) [
    "api_token"
    "home_assistant_token"
  ];
in
{
  options.barnabee.health = {
    start = lib.mkOption {
      type = lib.types.bool;
      default = !lib.elem "standby" config.barnabee.roles;
      defaultText = lib.literalExpression ''!lib.elem "standby" config.barnabee.roles'';
      description = "Start the services with the machine. A stand-by starts them when it is promoted.";
      example = false;
    };
    waitSeconds = lib.mkOption {
      type = lib.types.ints.positive;
      default = graph.acceptance.healthy_s;
      defaultText = lib.literalExpression "config.barnabee.system.acceptance.healthy_s";
      description = "How long the whole cascade may take to be well.";
      example = 120;
    };
  };

  config = lib.mkIf (services != [ ]) {
    systemd.targets.barnabee = {
      description = "BarnabeeNet: all services of this machine";
      wantedBy = lib.mkIf cfg.start [ "multi-user.target" ];
    };
    systemd.targets.barnabee-healthy = {
      description = "BarnabeeNet: the whole cascade is well";
      wantedBy = lib.mkIf cfg.start [ "multi-user.target" ];
      requires = [ "barnabee-health.service" ];
      after = [ "barnabee-health.service" ];
    };

    systemd.services.barnabee-health = look // {
      description = "BarnabeeNet: waits for the whole cascade";
      startLimitIntervalSec = 0; # a switch asks again and again
      serviceConfig =
        hardened
        // {
          RemainAfterExit = true;
          ExecStart = "${house.barnabee} health --wait ${toString cfg.waitSeconds} ${at}";
          TimeoutStartSec = cfg.waitSeconds + 15;
          SupplementaryGroups = lib.optional (here != [ ]) "barnabee"; # which line the database is of
        }
        // house.inside;
    };

    # Started by hand, by a deploy or by a test: `systemctl start barnabee-accept`; its journal has the
    # table. It asks Home Assistant, wherever that is, whether the test alert came.
    systemd.services.barnabee-accept = lib.mkIf (house.runs "api") (
      look
      // {
        description = "BarnabeeNet: the five acceptance criteria";
        path = [ config.systemd.package ]; # journalctl: how long the start took
        serviceConfig = hardened // {
          ExecStart = "${house.barnabee} accept ${at}";
          TimeoutStartSec = 300;
          LoadCredential = map (
            credential: "${credential}:${config.barnabee.secrets.fileOf credential}"
          ) given;
          SupplementaryGroups = [
            "barnabee" # litestream's socket
            "systemd-journal"
          ];
        };
      }
    );
  };
}
