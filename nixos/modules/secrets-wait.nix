# Secrets that are not there yet, as after a first installation: `barnabee secrets` lists and adds them,
# barnabee-secrets starts what waits for them (src/barnabee/deploy/host_secrets.py).
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee.secrets;
  # Units that fail without their secrets and do not try again by themselves.
  failing =
    lib.optional config.services.grafana.enable "grafana.service"
    ++ lib.optional config.services.nginx.enable "nginx.service"
    ++ lib.optional config.services.prometheus.alertmanager.enable "alertmanager.service"
    ++ lib.optional (barnabeeLib.runsService "redis") "barnabee-redis.service"
    # A standby starts it by its role.
    ++ lib.optional (
      (config.systemd.targets.barnabee-healthy.wantedBy or [ ]) != [ ]
    ) "barnabee-healthy.target";
in
{
  options.barnabee.secrets.guests = lib.mkOption {
    type = lib.types.attrsOf (lib.types.listOf lib.types.str);
    default = { };
    internal = true;
    description = "Secrets without which the unit of a guest does not start, by unit.";
    example = {
      "container@barnabee-core.service" = [ "api_token" ];
    };
  };

  config = lib.mkIf (config.barnabee.deploy.enable && cfg.used != [ ]) {
    environment.systemPackages = [ pkgs.openssl ]; # `barnabee secrets add` makes a certificate with it
    environment.etc."barnabee/secrets.json".text = builtins.toJSON {
      directory = if cfg.sopsFile != null then null else cfg.directory;
      files = lib.genAttrs cfg.used cfg.fileOf;
      inherit (cfg) guests;
      inherit (config.barnabee.installFacts) is_primary page_hosts;
      failing = failing ++ [ "barnabee-boot-gate.service" ];
    };

    systemd.services.barnabee-secrets = {
      description = "BarnabeeNet: start of what waits for secrets";
      wantedBy = [ "multi-user.target" ];
      path = [ config.systemd.package ]; # systemctl
      serviceConfig =
        import ../lib/hardening.nix
        // barnabeeLib.privateNetworkOnly
        // {
          Type = "notify";
          ExecStart = "${barnabeeLib.barnabee} secrets wait";
          Restart = "on-failure";
          RestartSec = 10;
          MemoryMax = "128M";
          # As root, with what systemd asks of clients that start units.
          CapabilityBoundingSet = "CAP_SYS_ADMIN";
          PrivateUsers = false;
          UMask = "0077";
        };
    };
  };
}
