# Health of a host: barnabee.target starts the services; barnabee-healthy.target is reached when every
# service of this host, and every service elsewhere that they call, is healthy. barnabee-supervisor kills
# services that hang, and starts those again that systemd has given up.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph graphLib localServices;
  inherit (config.barnabee) roles secrets;
  cfg = config.barnabee.health;
  dependencies = lib.concatMap (
    name: graph.service.${name}.needs ++ graph.service.${name}.wants
  ) localServices;
  isChecked =
    service:
    graph.service ? ${service}
    && graph.service.${service}.probe != "exit"
    && graphLib.hostOf graph service != null
    # Redis accepts connections from its own host only.
    && (barnabeeLib.runsService service || graph.service.${service}.probe != "redis");
  services = lib.filter isChecked (
    if lib.elem "hypervisor" roles then
      lib.attrNames graph.service
    else
      lib.unique (localServices ++ dependencies)
  );
  addressesOf = lib.concatMapStringsSep " " (
    service: "--at ${service}=${barnabeeLib.addressOf service}"
  );
  # A hypervisor asks those of its guest unless that follows (health-role.nix).
  isOfGuest = service: cfg.guest != null && graphLib.hostOf graph service == cfg.guest;
  guestAddresses = lib.optionalAttrs (cfg.guest != null) {
    OF_GUEST = addressesOf (lib.filter isOfGuest services);
  };
  checkUnit = {
    after = [
      "barnabee.target"
      "network-online.target"
    ]
    ++ tokensUnit
    ++ map (service: "barnabee-${service}.service") localServices;
    wants = [
      "barnabee.target"
      "network-online.target"
    ]
    ++ tokensUnit;
    inherit (barnabeeLib) environment;
  };
  checkServiceConfig = import ../lib/hardening.nix // {
    Type = "oneshot";
    DynamicUser = true;
    MemoryMax = "256M";
  };
  secretFiles = lib.concatMapStringsSep " " (name: "--file ${secrets.fileOf name}") secrets.used;
  # Without a token, services tell states but no reasons. A hypervisor has only its guests' secrets.
  metricsToken = lib.remove null (
    lib.optional (localServices != [ ]) (secrets.fileOf "metrics_token")
  );
  tokensUnit = lib.optional (metricsToken != [ ]) "barnabee-tokens.service";
  acceptSecrets = lib.filter (name: secrets.fileOf name != null) [
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
      description = "Start the services at boot. A standby starts them when it is promoted.";
      example = false;
    };
    waitSeconds = lib.mkOption {
      type = lib.types.ints.positive;
      default = graph.acceptance.healthy_s;
      defaultText = lib.literalExpression "config.barnabee.system.acceptance.healthy_s";
      description = "How long all services may take to become healthy.";
      example = 120;
    };
  };

  config = lib.mkIf (services != [ ]) {
    systemd.targets.barnabee = {
      description = "BarnabeeNet: all services of this host";
      wantedBy = lib.mkIf cfg.start [ "multi-user.target" ];
    };
    systemd.targets.barnabee-healthy = {
      description = "BarnabeeNet: all services are healthy";
      wantedBy = lib.mkIf cfg.start [ "multi-user.target" ];
      requires = [ "barnabee-health.service" ];
      after = [ "barnabee-health.service" ];
    };

    systemd.services.barnabee-health = checkUnit // {
      description = "BarnabeeNet: health check of all services";
      partOf = [ "barnabee-healthy.target" ];
      environment = barnabeeLib.environment // guestAddresses;
      startLimitIntervalSec = 0; # a deployment runs it repeatedly
      serviceConfig =
        checkServiceConfig
        // {
          RemainAfterExit = true;
          ExecStart = "${barnabeeLib.barnabee} health --wait ${toString cfg.waitSeconds} ${
            addressesOf (lib.filter (service: !isOfGuest service) services)
          }${lib.optionalString (cfg.guest != null) " $OF_GUEST"}";
          TimeoutStartSec = cfg.waitSeconds + 15;
          LoadCredential = map (file: "metrics_token:${file}") metricsToken;
        }
        // barnabeeLib.privateNetworkOnly;
    };

    systemd.services.barnabee-supervisor = lib.mkIf (localServices != [ ]) {
      description = "BarnabeeNet: supervisor of services that hang or have failed";
      wantedBy = [ "barnabee.target" ];
      partOf = [ "barnabee.target" ];
      inherit (barnabeeLib) environment;
      path = [ config.systemd.package ]; # systemctl
      startLimitIntervalSec = 0;
      serviceConfig =
        import ../lib/hardening.nix
        // {
          Type = "notify";
          ExecStart = "${barnabeeLib.barnabee} supervise ${addressesOf localServices} ${secretFiles}";
          Restart = "always";
          RestartSec = 5;
          WatchdogSec = 30;
          MemoryMax = "256M";
          # As root, with what systemd asks of clients that start and kill units. It sees all processes, to
          # tell one that hangs from one that is busy.
          CapabilityBoundingSet = "CAP_KILL CAP_SYS_ADMIN";
          PrivateUsers = false;
          ProcSubset = "pid";
          ProtectProc = "default";
          UMask = "0077";
        }
        // barnabeeLib.privateNetworkOnly;
    };

    # Run with `systemctl start barnabee-accept`; the results are in its journal. It may connect to other
    # networks, because it asks Home Assistant whether the test alert arrived.
    systemd.services.barnabee-accept = lib.mkIf (barnabeeLib.runsService "api") (
      checkUnit
      // {
        description = "BarnabeeNet: the five acceptance criteria";
        path = [ config.systemd.package ]; # journalctl, for the duration of the start
        serviceConfig = checkServiceConfig // {
          ExecStart = "${barnabeeLib.barnabee} accept ${addressesOf services}";
          TimeoutStartSec = 300;
          LoadCredential = map (name: "${name}:${secrets.fileOf name}") acceptSecrets;
          SupplementaryGroups = [
            "barnabee" # litestream's socket
            "systemd-journal"
          ];
        };
      }
    );
  };
}
