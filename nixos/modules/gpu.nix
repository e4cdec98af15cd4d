# NVIDIA driver on the host that runs inference; no graphical session.
{ config, lib, ... }:
let
  cfg = config.barnabee.gpu;
in
{
  options.barnabee.gpu.enable = lib.mkOption {
    type = lib.types.bool;
    default = false;
    description = "Use the GPU of `barnabee.system.gpu` on this host; without it the engines run on the CPU.";
    example = true;
  };

  config = lib.mkIf cfg.enable {
    hardware.graphics.enable = true;
    services.xserver.videoDrivers = [ "nvidia" ]; # loads the driver; X is not started
    hardware.nvidia = {
      open = true; # the open kernel module, NVIDIA's default for this generation
      nvidiaPersistenced = true;
      nvidiaSettings = false;
      modesetting.enable = false;
    };

    assertions = [
      {
        assertion = lib.elem "gpu" config.barnabee.roles || lib.elem "standby" config.barnabee.roles;
        message = "barnabee.gpu.enable is set, but ${config.barnabee.name} does not have the role gpu; give it the role in barnabee.system.host, or unset barnabee.gpu.enable.";
      }
    ];
  };
}
