# Standby host without a GPU: follows the primary until it is promoted. `barnabee facts manofwar` prints this
# file for the machine it runs on.
{
  imports = [
    ../../nixos/profiles/base.nix
    ../../nixos/profiles/standby.nix
    ../../nixos/modules/disk.nix
  ];

  networking.hostName = "manofwar";
  boot.loader.systemd-boot.enable = true;
  boot.initrd.availableKernelModules = [
    "ahci"
    "nvme"
    "usbhid"
    "xhci_pci"
  ];
  barnabee = {
    placeholders = [
      "barnabee.disk"
      "barnabee.network.interface"
      "barnabee.uplink"
    ];
    disk = "/dev/disk/by-id/nvme-manofwar";
    uplink = "enp5s0";
    network.interface = "enp6s0"; # the cable to beast
  };
}
