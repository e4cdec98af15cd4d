# Boot counting: systemd-boot gives a new generation a limited number of boots to pass the boot gate.
{
  config,
  lib,
  options,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee.deploy;
  usesSystemdBoot = config.boot.loader.systemd-boot.enable;
  # Not in nixpkgs 26.05; in the release after it.
  supported = options.boot.loader.systemd-boot ? bootCounting;
in
{
  options.barnabee.deploy.bootCounting = lib.mkOption {
    type = lib.types.bool;
    default = cfg.enable && supported && usesSystemdBoot;
    defaultText = lib.literalExpression "where systemd-boot is used and this nixpkgs has its bootCounting";
    description = ''
      Fall back to an older generation when a new one has not passed the boot gate within
      `barnabee.system.deploy.boot_tries` boots.
    '';
    example = false;
  };

  config = lib.mkMerge [
    {
      assertions = lib.optionals cfg.enable [
        {
          assertion = !cfg.bootCounting || usesSystemdBoot;
          message = "barnabee.deploy.bootCounting needs boot.loader.systemd-boot.enable: other boot loaders do not count boots. Enable it or unset barnabee.deploy.bootCounting.";
        }
        {
          assertion = !cfg.bootCounting || supported;
          message = "barnabee.deploy.bootCounting is set, but this nixpkgs has no boot.loader.systemd-boot.bootCounting; unset it, and a new driver gets a single test boot.";
        }
      ];
    }

    (lib.optionalAttrs supported {
      boot.loader.systemd-boot.bootCounting = lib.mkIf cfg.bootCounting {
        enable = true;
        tries = barnabeeLib.graph.deploy.boot_tries;
      };
    })
  ];
}
