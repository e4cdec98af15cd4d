# NVIDIA driver on the host that runs inference; no graphical session.
{ config, lib, ... }:
let
  inherit (config.barnabee.system.gpu) device vram_mib;
  shipped = ((import ../lib/system.nix).loadFile ../../system.toml).gpu;
  isAnotherSlice = lib.hasPrefix "MIG-" device && device != shipped.device or "0";
in
{
  options.barnabee.gpu.enable = lib.mkOption {
    type = lib.types.bool;
    default = false;
    description = "Use the GPU of `barnabee.system.gpu` on this host; without it the engines run on the CPU.";
    example = true;
  };

  config = lib.mkIf config.barnabee.gpu.enable {
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
      {
        assertion = isAnotherSlice -> vram_mib != shipped.vram_mib;
        message = "barnabee.system.gpu.device is the MIG slice ${device}, but barnabee.system.gpu.vram_mib is that of the whole GPU of system.toml; set it to the memory of the slice (`nvidia-smi`).";
      }
    ];
  };
}
