# The stand-by: no card, the same house on its processor, following until it takes over.
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
    disk = "/dev/disk/by-id/nvme-manofwar";
    uplink = "enp5s0";
    network.link = "enp6s0"; # the cable to beast
  };
}
