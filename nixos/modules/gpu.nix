# The card, on the machine that computes with it: driver, persistence, and nothing graphical.
{ config, lib, ... }:
let
  cfg = config.barnabee.gpu;
in
{
  options.barnabee.gpu.card = lib.mkOption {
    type = lib.types.bool;
    default = false;
    description = "This machine has the card of `barnabee.system.card`; without it the engines use the processor.";
    example = true;
  };

  config = lib.mkIf cfg.card {
    hardware.graphics.enable = true;
    services.xserver.videoDrivers = [ "nvidia" ]; # this is what loads the driver; no X is started
    hardware.nvidia = {
      open = true; # the open kernel module: NVIDIA's own choice for this generation
      nvidiaPersistenced = true;
      nvidiaSettings = false;
      modesetting.enable = false;
    };

    assertions = [
      {
        assertion = lib.elem "gpu" config.barnabee.roles || lib.elem "standby" config.barnabee.roles;
        message = "barnabee.gpu.card is set, but ${config.barnabee.name} has not the role gpu; give it the role in barnabee.system.host, or unset barnabee.gpu.card.";
      }
    ];
  };
}
