# A Proxmox node. Proxmox is no NixOS: this is never installed. It holds the facts from which
# `nix build .#proxmox-battleserver` writes the guests' files, typed and checked like any host.
{
  imports = [ ../../nixos/profiles/base.nix ];

  networking.hostName = "battleserver";
  boot.isContainer = true; # neither kernel nor disk is ours

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
      };
      barnabee-monitoring = {
        kind = "lxc";
        id = 111;
        cores = 2;
        memoryMib = 4096;
        diskGib = 64;
      };
      barnabee-gpu = {
        kind = "vm";
        id = 120;
        cores = 8;
        memoryMib = 16384;
        diskGib = 32;
      };
    };
  };
}
