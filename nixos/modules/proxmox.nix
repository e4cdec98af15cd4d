# Guests of a Proxmox VE node, with the addresses and the GPU of the same options as the NixOS hypervisor.
# `nix build .#proxmox-<host>` writes the commands that create them (docs/install/proxmox.md).
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.barnabee.proxmox;
  inherit (config.barnabee) network system;
  option =
    type: description: example:
    lib.mkOption { inherit type description example; };
  optional =
    type: description: default: example:
    option type description example // { inherit default; };
  word = lib.types.strMatching "[A-Za-z][A-Za-z0-9._-]*";
  guest = lib.types.submodule {
    options = {
      kind = option (lib.types.enum [
        "lxc"
        "vm"
      ]) "A container, or a VM, which gets the GPU if it has the role gpu." "lxc";
      id = option (lib.types.ints.between 100 999999999) "Proxmox id of the guest." 110;
      cores = option lib.types.ints.positive "Number of CPU cores." 4;
      memoryMib = option lib.types.ints.positive "Memory in MiB." 8192;
      diskGib = option lib.types.ints.positive "Disk size in GiB." 32;
      dataGib =
        optional (lib.types.nullOr lib.types.ints.positive)
          "Size in GiB of a container's own volume for `/data`, which outlives a new root file system; null: none."
          null
          32;
    };
  };
  files = import ../lib/proxmox.nix { inherit lib; } {
    inherit config;
    roles = lib.mapAttrs (name: _: (system.host.${name} or { roles = [ ]; }).roles) cfg.guests;
  };
  unknown = lib.filter (name: !(network.addresses ? ${name})) (lib.attrNames cfg.guests);
  ids = lib.mapAttrsToList (_: guest: guest.id) cfg.guests;
in
{
  options.barnabee.proxmox = {
    guests =
      optional (lib.types.attrsOf guest) "Guests of the Proxmox node, by the name of their host in the flake."
        { }
        {
          barnabee-core = {
            kind = "lxc";
            id = 110;
            cores = 4;
            memoryMib = 8192;
            diskGib = 32;
          };
        };
    storage = optional word "Storage of the node for disks." "local-lvm" "local-zfs";
    bridge = optional word "Network bridge of the node." "vmbr0" "vmbr1";
    gateway =
      optional (lib.types.strMatching "[0-9.]+") "Default gateway and DNS server of the guests."
        "10.77.0.1"
        "192.168.1.1";
  };

  config = lib.mkIf (cfg.guests != { }) {
    system.build.proxmoxFiles = files;
    system.build.proxmox = pkgs.linkFarm "proxmox-${config.barnabee.name}" (
      lib.mapAttrs (name: text: pkgs.writeText name text) files
    );
    assertions = [
      {
        assertion = unknown == [ ];
        message = "barnabee.proxmox.guests.${lib.concatStringsSep ", " unknown} has no address; add it to barnabee.network.addresses.";
      }
      {
        assertion = lib.unique ids == ids;
        message = "barnabee.proxmox.guests uses an id for two guests; give each its own.";
      }
    ];
  };
}
