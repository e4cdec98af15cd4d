# Proxmox node. This configuration is never installed: `nix build .#proxmox-battleserver` writes the
# commands that create the guests, with the same type checks as for any host.
{
  imports = [ ../../nixos/profiles/base.nix ];

  networking.hostName = "battleserver";
  boot.isContainer = true; # NixOS manages neither kernel nor disk

  barnabee = {
    fillers = null;
    deploy.enable = false;
    proxmox.guests = {
      barnabee-core = {
        kind = "lxc";
        id = 110;
        cores = 4;
        memoryMib = 8192;
        diskGib = 32;
        dataGib = 32;
      };
      barnabee-monitoring = {
        kind = "lxc";
        id = 111;
        cores = 2;
        memoryMib = 4096;
        diskGib = 64;
      };
      barnabee-gpu = {
        kind = "vm"; # lxc: without a GPU
        id = 120;
        cores = 8;
        memoryMib = 16384;
        diskGib = 64;
      };
    };
  };
}
