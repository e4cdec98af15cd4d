# The card leaves this machine: vfio takes it before any driver can, and a guest gets it.
#
# The specification names 10de:2782, which is the RTX 4070 Ti; the card that is owned is the 4070 Ti
# SUPER (AD103), 10de:2705 with its sound function 10de:22bb.
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
      description = "Bind the card to vfio so that a guest can have it.";
      example = true;
    };
    ids = lib.mkOption {
      type = lib.types.nonEmptyListOf (lib.types.strMatching "[0-9a-f]{4}:[0-9a-f]{4}");
      default = [
        "10de:2705"
        "10de:22bb"
      ];
      description = "Vendor and device of every function of the card (`lspci -nn`).";
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
      description = "Where those functions are (`lspci -D`).";
      example = [ "0000:0a:00.0" ];
    };
    iommu = lib.mkOption {
      type = lib.types.nullOr (
        lib.types.enum [
          "amd"
          "intel"
        ]
      );
      default = null;
      description = "Whose IOMMU this machine has; it must be on in the firmware too.";
      example = "amd";
    };
  };

  config = lib.mkIf cfg.enable {
    boot = {
      kernelParams = [
        "iommu=pt"
        "vfio-pci.ids=${lib.concatStringsSep "," cfg.ids}"
      ]
      # AMD's is on by itself.
      ++ lib.optional (cfg.iommu == "intel") "intel_iommu=on";
      # In the initrd, before anything else looks at the card.
      initrd.kernelModules = [
        "vfio_pci"
        "vfio"
        "vfio_iommu_type1"
      ];
      blacklistedKernelModules = drivers;
      extraModprobeConfig = ''
        softdep snd_hda_intel pre: vfio-pci
        softdep xhci_pci pre: vfio-pci
      '';
    };

    assertions = [
      {
        assertion = cfg.iommu != null;
        message = "barnabee.passthrough.enable needs an IOMMU: set barnabee.passthrough.iommu to amd or intel.";
      }
      {
        assertion = !lib.elem "nvidia" config.services.xserver.videoDrivers;
        message = "barnabee.passthrough.enable gives the card to a guest, but this machine loads the nvidia driver for it; unset barnabee.gpu.card (or services.xserver.videoDrivers) here.";
      }
      {
        assertion = lib.length cfg.ids == lib.length cfg.addresses;
        message = "barnabee.passthrough.ids and barnabee.passthrough.addresses name different numbers of functions; list every function of the card in both.";
      }
    ];
  };
}
