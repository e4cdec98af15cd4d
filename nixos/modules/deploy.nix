# Deployment of a new generation: health checks that decide whether it stays, and the gate at boot.
# docs/operations.md
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee.deploy;
  limits = barnabeeLib.graph.deploy;
  # The API accepts requests from these roles.
  reachesApi = lib.any (role: lib.elem role config.barnabee.roles) [
    "core"
    "hypervisor"
  ];
  hasHealthUnit = config.systemd.services ? barnabee-health;
  programs = [
    config.nix.package.out
    config.systemd.package
  ];
  upgrade = config.system.autoUpgrade;
in
{
  options.barnabee.deploy = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Deploy this host on its own. A guest is part of its hypervisor's system and is not.";
      example = false;
    };
    probe = lib.mkOption {
      type = lib.types.bool;
      default = cfg.enable && reachesApi;
      defaultText = lib.literalExpression "whether this host has the role core or hypervisor";
      description = "Require a successful voice probe (`barnabee probe`: a spoken question and a spoken answer) after a switch.";
      example = false;
    };
    checks = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default =
        lib.optional (hasHealthUnit && config.barnabee.health.start) "barnabee-health.service"
        ++ lib.optional cfg.probe "barnabee-probe.service";
      defaultText = lib.literalExpression ''[ "barnabee-health.service" "barnabee-probe.service" ]'';
      description = ''
        Oneshot units that run after a switch and at boot; a failure rolls the switch back. With an
        empty list, a unit that fails and had not failed before the switch rolls it back.
      '';
      example = [
        "barnabee-health.service"
        "my-own-check.service"
      ];
    };
    autoUpgrade = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Run `system.autoUpgrade` through `barnabee switch`, with its health gate and rollback.";
      example = true;
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ config.barnabee.package ]; # barnabee-switch
    systemd.tmpfiles.rules = [ "d /var/lib/barnabee/deploys 0755 root root -" ];

    systemd.services.barnabee-boot-gate = {
      description = "BarnabeeNet: health gate of the booted generation";
      wantedBy = [ "multi-user.target" ];
      requiredBy = [ "boot-complete.target" ];
      before = [
        "boot-complete.target"
        "shutdown.target"
      ];
      after = [ "network-online.target" ] ++ lib.optional hasHealthUnit "barnabee-health.service";
      wants = [ "network-online.target" ];
      # multi-user.target must not wait for the gate: an activation that the gate runs waits for it.
      unitConfig.DefaultDependencies = false;
      conflicts = [ "shutdown.target" ];
      path = programs;
      environment.BARNABEE_DEPLOY_UNIT = "barnabee-boot-gate.service";
      # Runs once per boot; a switch runs the checks itself, and its activation must not stop the gate.
      restartIfChanged = false;
      startLimitIntervalSec = 0;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${barnabeeLib.barnabee} deploys gate";
        # 5 means unhealthy; any other failure is one of the gate itself.
        Restart = "on-failure";
        RestartSec = 5;
        RestartPreventExitStatus = 5;
        TimeoutStartSec = 4 * limits.settle_s + limits.data_s + 2 * limits.switch_s;
      };
    };
    # Reboot after a kernel panic, into the previous generation.
    boot.kernelParams = lib.mkIf (!config.boot.isContainer) [ "panic=30" ];

    systemd.services.nixos-upgrade = lib.mkIf (cfg.autoUpgrade && upgrade.enable) {
      path = programs;
      script = lib.mkForce "exec ${barnabeeLib.barnabee} switch ${lib.optionalString upgrade.allowReboot "--reboot "}${toString upgrade.flake}#${config.barnabee.name}";
    };

    assertions = [
      {
        assertion =
          !(hasHealthUnit && config.barnabee.health.start) || lib.elem "barnabee-health.service" cfg.checks;
        message = "barnabee.deploy.checks lacks barnabee-health.service, so a switch would stay whatever it breaks; add it, or unset barnabee.deploy.enable.";
      }
      {
        assertion = !cfg.probe || reachesApi;
        message = "barnabee.deploy.probe needs the API, which accepts no requests from ${config.barnabee.name}: only from hosts with the role core or hypervisor. Unset barnabee.deploy.probe.";
      }
      {
        assertion = !cfg.autoUpgrade || (upgrade.enable && upgrade.flake != null);
        message = "barnabee.deploy.autoUpgrade needs a flake to follow: set system.autoUpgrade.enable and system.autoUpgrade.flake.";
      }
    ];
  };
}
