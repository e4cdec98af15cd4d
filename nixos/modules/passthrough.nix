# GPU passthrough: vfio binds the GPU before any driver loads, so that a guest can own it.
#
# The specification names 10de:2782, the RTX 4070 Ti. The hardware is the 4070 Ti SUPER (AD103),
# 10de:2705, with its audio function 10de:22bb.
{ config, lib, ... }:
let
  cfg = config.barnabee.passthrough;
  drivers = [
    "nouveau"
    "nvidia"
    "nvidia_drm"
    "nvidia_modeset"
    "nvidia_uvm"
    "nvidiafb"
  ];
in
{
  options.barnabee.passthrough = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Bind the GPU to vfio, for passthrough to a guest.";
      example = true;
    };
    ids = lib.mkOption {
      type = lib.types.nonEmptyListOf (lib.types.strMatching "[0-9a-f]{4}:[0-9a-f]{4}");
      default = [
        "10de:2705"
        "10de:22bb"
      ];
      description = "Vendor and device id of every function of the GPU (`lspci -nn`).";
      example = [
        "10de:2782"
        "10de:22bc"
      ];
    };
    addresses = lib.mkOption {
      type = lib.types.nonEmptyListOf (
        lib.types.strMatching "[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}[.][0-7]"
      );
      default = [
        "0000:01:00.0"
        "0000:01:00.1"
      ];
      description = "PCI address of every function of the GPU (`lspci -D`).";
      example = [ "0000:0a:00.0" ];
    };
    onlyDisplay = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        The GPU is the machine's only display: the kernel does not use the framebuffer of the firmware. The
        screen keeps what the boot loader drew, and the machine is reached by SSH only.
      '';
      example = true;
    };
    iommu = lib.mkOption {
      type = lib.types.nullOr (
        lib.types.enum [
          "amd"
          "intel"
        ]
      );
      default = null;
      description = "Vendor of the IOMMU, which must also be enabled in the firmware.";
      example = "amd";
    };
    kernelParams = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      internal = true;
      readOnly = true;
      default = [
        "iommu=pt"
      ]
      # AMD's is enabled by default.
      ++ lib.optional (cfg.iommu == "intel") "intel_iommu=on"
      # Since Linux 6.0 vfio-pci detaches the boot framebuffer's driver (simpledrm, efifb) when it binds;
      # without sysfb there is none that could hold the GPU's memory.
      ++ lib.optional cfg.onlyDisplay "initcall_blacklist=sysfb_init";
      description = "Kernel parameters of a machine that gives its GPU to a guest.";
      example = [ "iommu=pt" ];
    };
  };

  config = lib.mkIf cfg.enable {
    boot = {
      kernelParams = cfg.kernelParams ++ [ "vfio-pci.ids=${lib.concatStringsSep "," cfg.ids}" ];
      # In the initrd, before any other driver can bind the GPU.
      initrd.kernelModules = [
        "vfio_pci"
        "vfio"
        "vfio_iommu_type1"
      ];
      blacklistedKernelModules = drivers;
      extraModprobeConfig = "softdep snd_hda_intel pre: vfio-pci"; # binds the GPU's audio function
    };

    assertions = [
      {
        assertion = cfg.iommu != null;
        message = "barnabee.passthrough.enable needs an IOMMU: set barnabee.passthrough.iommu to amd or intel.";
      }
      {
        assertion = !lib.elem "nvidia" config.services.xserver.videoDrivers;
        message = "barnabee.passthrough.enable gives the GPU to a guest, but this host loads the nvidia driver for it; unset barnabee.gpu.enable (or services.xserver.videoDrivers) here.";
      }
      {
        assertion = lib.length cfg.ids == lib.length cfg.addresses;
        message = "barnabee.passthrough.ids and barnabee.passthrough.addresses name different numbers of functions; list every function of the GPU in both.";
      }
    ];
  };
}
