# Switching this machine to another system, and back by itself: what the programs are told of the
# system, the checks that decide, the gate at boot. How it goes: docs/operations.md.
{
  config,
  lib,
  options,
  house,
  ...
}:
let
  inherit (config.barnabee) roles;
  inherit (house) graph;
  cfg = config.barnabee.deploy;
  limits = graph.deploy;
  asksApi = lib.any (role: lib.elem role roles) [
    "core"
    "hypervisor"
  ];
  counts = options.boot.loader.systemd-boot ? bootCounting; # not in nixpkgs 26.05, in the next one
  hasHealth = config.systemd.services ? barnabee-health;

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
      description = "This machine is switched by itself. A guest is part of the system beneath it and is not.";
      example = false;
    };
    probe = lib.mkOption {
      type = lib.types.bool;
      default = cfg.enable && asksApi;
      defaultText = lib.literalExpression "whether this machine has the role core or hypervisor";
      description = "A switch is kept only when a spoken question is answered aloud (`barnabee probe`).";
      example = false;
    };
    checks = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default =
        lib.optional (hasHealth && config.barnabee.health.start) "barnabee-health.service"
        ++ lib.optional cfg.probe "barnabee-probe.service";
      defaultText = lib.literalExpression ''[ "barnabee-health.service" "barnabee-probe.service" ]'';
      description = ''
        Oneshot units that are started anew after a switch and at boot; one that fails takes the
        switch back. Without any, a unit that failed and had not failed before does so.
      '';
      example = [
        "barnabee-health.service"
        "my-own-check.service"
      ];
    };
    bootCounting = lib.mkOption {
      type = lib.types.bool;
      default = cfg.enable && counts && config.boot.loader.systemd-boot.enable;
      defaultText = lib.literalExpression "where systemd-boot is used and this nixpkgs has its bootCounting";
      description = ''
        The boot loader gives a new system `barnabee.system.deploy.boot_tries` boots to pass the gate
        and then takes an older one.
      '';
      example = false;
    };
    autoUpgrade = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "`system.autoUpgrade` switches by `barnabee switch`, gate and all, to the newest of its flake.";
      example = true;
    };
  };

  config = lib.mkMerge [
    (lib.mkIf cfg.enable {
      environment.systemPackages = [ config.barnabee.package ]; # barnabee-switch
      systemd.tmpfiles.rules = [ "d /var/lib/barnabee/deploys 0755 root root -" ];

      systemd.services.barnabee-boot-gate = {
        description = "BarnabeeNet: is what was booted well, and is it to stay?";
        wantedBy = [ "multi-user.target" ];
        requiredBy = [ "boot-complete.target" ];
        before = [
          "boot-complete.target"
          "shutdown.target"
        ];
        after = [ "network-online.target" ] ++ lib.optional hasHealth "barnabee-health.service";
        wants = [ "network-online.target" ];
        # multi-user.target must not wait for it: an activation that it may do waits for that target.
        unitConfig.DefaultDependencies = false;
        conflicts = [ "shutdown.target" ];
        path = programs;
        environment.BARNABEE_DEPLOY_UNIT = "barnabee-boot-gate.service";
        # It asks once a boot. A switch asks by itself, and must not be stopped by its own activation.
        restartIfChanged = false;
        startLimitIntervalSec = 0;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${house.barnabee} deploys gate";
          # 5 is an answer (not well); anything else is an accident of its own.
          Restart = "on-failure";
          RestartSec = 5;
          RestartPreventExitStatus = 5;
          TimeoutStartSec = 4 * limits.settle_s + limits.data_s + 2 * limits.switch_s;
        };
      };
      # A kernel that panics restarts, into what was booted before.
      boot.kernelParams = lib.mkIf (!config.boot.isContainer) [ "panic=30" ];

      systemd.services.nixos-upgrade = lib.mkIf (cfg.autoUpgrade && upgrade.enable) {
        path = programs;
        script = lib.mkForce "exec ${house.barnabee} switch ${lib.optionalString upgrade.allowReboot "--reboot "}${toString upgrade.flake}#${config.barnabee.name}";
      };

      assertions = [
        {
          assertion =
            !(hasHealth && config.barnabee.health.start) || lib.elem "barnabee-health.service" cfg.checks;
          message = "barnabee.deploy.checks does without barnabee-health.service, so a switch would be kept whatever it breaks; list it, or unset barnabee.deploy.enable.";
        }
        {
          assertion = !cfg.bootCounting || config.boot.loader.systemd-boot.enable;
          message = "barnabee.deploy.bootCounting needs boot.loader.systemd-boot.enable, for no other boot loader counts; enable it or unset barnabee.deploy.bootCounting.";
        }
        {
          assertion = !cfg.bootCounting || counts;
          message = "barnabee.deploy.bootCounting is set, but this nixpkgs has no boot.loader.systemd-boot.bootCounting; unset it, a new driver is then tried by one boot.";
        }
        {
          assertion = !cfg.probe || asksApi;
          message = "barnabee.deploy.probe asks the api, which lets in neither ${config.barnabee.name} nor any machine without the role core or hypervisor; unset barnabee.deploy.probe here.";
        }
        {
          assertion = !cfg.autoUpgrade || (upgrade.enable && upgrade.flake != null);
          message = "barnabee.deploy.autoUpgrade has nothing to follow: set system.autoUpgrade.enable and system.autoUpgrade.flake.";
        }
      ];
    })

    (lib.optionalAttrs counts {
      boot.loader.systemd-boot.bootCounting = lib.mkIf cfg.bootCounting {
        enable = true;
        tries = limits.boot_tries;
      };
    })
  ];
}
