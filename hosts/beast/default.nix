# Physical host with the GPU. `barnabee facts beast` prints this file for the machine it runs on.
{
  imports = [
    ../../nixos/profiles/base.nix
    ../../nixos/profiles/hypervisor.nix
  ];

  networking.hostName = "beast";
  hardware.cpu.amd.updateMicrocode = true;
  boot.initrd.availableKernelModules = [
    "ahci"
    "nvme"
    "sd_mod"
    "usbhid"
    "xhci_pci"
  ];
  boot.kernelModules = [ "kvm-amd" ];

  barnabee = {
    placeholders = [
      "barnabee.bridgePorts"
      "barnabee.disk"
      "barnabee.passthrough.addresses"
      "barnabee.uplink"
    ];
    disk = "/dev/disk/by-id/nvme-beast";
    uplink = "enp5s0";
    bridgePorts = [ "enp6s0" ]; # the cable to manofwar

    passthrough = {
      enable = true;
      iommu = "amd";
      addresses = [
        "0000:01:00.0"
        "0000:01:00.1"
      ];
    };

    guests = {
      barnabee-gpu.kind = "vm";
      barnabee-core = {
        kind = "container";
        directories."/data" = "/srv/barnabee/data";
      };
      barnabee-monitoring.kind = "container";
    };
  };
}
