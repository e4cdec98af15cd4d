# Configuration files of the guests for a Proxmox node, with GPU passthrough, from the same options as the
# NixOS hypervisor. `nix build .#proxmox-<host>` writes them.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.barnabee.proxmox;
  inherit (config.barnabee) network passthrough;
  lxc = name: guest: ''
    # pct create ${toString guest.id} <storage>:vztmpl/${name}.tar.xz, then this file as
    # /etc/pve/lxc/${toString guest.id}.conf
    arch: amd64
    cores: ${toString guest.cores}
    features: nesting=1
    hostname: ${name}
    memory: ${toString guest.memoryMib}
    mp0: ${cfg.storage}:${toString guest.diskGib},mp=/data
    net0: name=eth0,bridge=${cfg.bridge},ip=${network.addresses.${name}}/24,gw=${cfg.gateway},type=veth
    onboot: 1
    ostype: nixos
    rootfs: ${cfg.storage}:${toString guest.diskGib}
    swap: 0
    unprivileged: 1
  '';
  pciSlot = lib.head (lib.splitString "." (lib.head passthrough.addresses));
  vm = name: guest: ''
    # /etc/pve/qemu-server/${toString guest.id}.conf
    balloon: 0
    bios: ovmf
    boot: order=scsi0
    cores: ${toString guest.cores}
    cpu: host
    efidisk0: ${cfg.storage}:1,efitype=4m,pre-enrolled-keys=0
    hostpci0: ${pciSlot},pcie=1,x-vga=1
    machine: q35
    memory: ${toString guest.memoryMib}
    name: ${name}
    net0: virtio,bridge=${cfg.bridge}
    ipconfig0: ip=${network.addresses.${name}}/24,gw=${cfg.gateway}
    onboot: 1
    ostype: l26
    scsi0: ${cfg.storage}:${toString guest.diskGib},discard=on,ssd=1
    scsihw: virtio-scsi-single
    vga: none
  '';
  files =
    lib.mapAttrs' (
      name: guest:
      lib.nameValuePair "${guest.kind}-${name}.conf" (
        (if guest.kind == "lxc" then lxc else vm) name guest
      )
    ) cfg.guests
    // {
      "vfio.conf" = ''
        # /etc/modprobe.d/vfio.conf, then: update-initramfs -u && reboot
        options vfio-pci ids=${lib.concatStringsSep "," passthrough.ids}
        softdep nouveau pre: vfio-pci
        softdep nvidia pre: vfio-pci
        softdep snd_hda_intel pre: vfio-pci
      '';
    };
in
{
  options.barnabee.proxmox = {
    guests = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule {
          options = {
            kind = lib.mkOption {
              type = lib.types.enum [
                "lxc"
                "vm"
              ];
              description = "A container, or a VM with the GPU.";
              example = "lxc";
            };
            id = lib.mkOption {
              type = lib.types.ints.between 100 999999999;
              description = "Proxmox id of the guest.";
              example = 110;
            };
            cores = lib.mkOption {
              type = lib.types.ints.positive;
              description = "Number of CPU cores.";
              example = 4;
            };
            memoryMib = lib.mkOption {
              type = lib.types.ints.positive;
              description = "Memory in MiB.";
              example = 8192;
            };
            diskGib = lib.mkOption {
              type = lib.types.ints.positive;
              description = "Disk size in GiB.";
              example = 32;
            };
          };
        }
      );
      default = { };
      description = "Guests of the Proxmox node, by the name of their host in the flake.";
      example = {
        barnabee-core = {
          kind = "lxc";
          id = 110;
          cores = 4;
          memoryMib = 8192;
          diskGib = 32;
        };
      };
    };
    storage = lib.mkOption {
      type = lib.types.str;
      default = "local-lvm";
      description = "Storage of the node for disks.";
      example = "local-zfs";
    };
    bridge = lib.mkOption {
      type = lib.types.str;
      default = "vmbr0";
      description = "Network bridge of the node.";
      example = "vmbr1";
    };
    gateway = lib.mkOption {
      type = lib.types.str;
      default = "10.77.0.1";
      description = "Default gateway of the guests.";
      example = "192.168.1.1";
    };
  };

  config = lib.mkIf (cfg.guests != { }) {
    system.build.proxmox = pkgs.linkFarm "proxmox-${config.barnabee.name}" (
      lib.mapAttrs (name: text: pkgs.writeText name text) files
    );
    system.build.proxmoxFiles = files;
  };
}
