# The stand-by: no card, the same house on its processor, silent until it is promoted.
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
  barnabee.disk = "/dev/disk/by-id/nvme-manofwar";
}
