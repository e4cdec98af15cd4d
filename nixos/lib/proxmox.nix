# Shell script that creates the guests of a Proxmox VE node with `pct` and `qm`, which allocate the disks.
# Option names: pct(1) and qm(1) of Proxmox VE 8 and 9.
{ lib }:
{
  config, # of the node
  roles, # of each guest
}:
let
  cfg = config.barnabee.proxmox;
  inherit (config.barnabee) network passthrough;
  # All functions of the GPU.
  pciSlot = lib.head (lib.splitString "." (lib.head passthrough.addresses));

  # One line for each option. The types of the options allow nothing that a shell would expand.
  command =
    line: options:
    lib.concatStringsSep " \\\n    " (
      [ line ] ++ lib.mapAttrsToList (name: value: "--${name} \"${toString value}\"") options
    );

  container = name: guest: {
    tool = "pct";
    commands = [
      (command ''pct create ${toString guest.id} "$images/${name}.tar.xz"'' (
        {
          arch = "amd64";
          inherit (guest) cores;
          features = "nesting=1"; # systemd's own sandboxing
          hostname = name;
          memory = guest.memoryMib;
          net0 = "name=eth0,bridge=${cfg.bridge},ip=${network.addresses.${name}}/24,gw=${cfg.gateway}";
          onboot = 1;
          ostype = "nixos";
          rootfs = "${cfg.storage}:${toString guest.diskGib}";
          swap = 0;
          unprivileged = 1;
        }
        // lib.optionalAttrs (guest.dataGib != null) {
          mp0 = "${cfg.storage}:${toString guest.dataGib},mp=/data,backup=1";
        }
      ))
    ];
  };

  # The address is part of the image: `ipconfig0` would need cloud-init in the guest.
  machine = name: guest: {
    tool = "qm";
    commands = [
      (command "qm create ${toString guest.id}" (
        {
          balloon = 0; # memory of a VM with a PCI device is pinned
          bios = "ovmf";
          boot = "order=scsi0";
          inherit (guest) cores;
          cpu = "host";
          efidisk0 = "${cfg.storage}:1,efitype=4m,pre-enrolled-keys=0";
          machine = "q35";
          memory = guest.memoryMib;
          inherit name;
          net0 = "virtio,bridge=${cfg.bridge}";
          onboot = 1;
          ostype = "l26";
          scsi0 = "${cfg.storage}:0,import-from=$images/${name}.qcow2,discard=on,ssd=1";
          scsihw = "virtio-scsi-single";
          serial0 = "socket"; # qm terminal
          vga = "serial0";
        }
        // lib.optionalAttrs (lib.elem "gpu" roles.${name}) {
          hostpci0 = "${pciSlot},pcie=1,x-vga=1";
        }
      ))
      "qm disk resize ${toString guest.id} scsi0 ${toString guest.diskGib}G"
    ];
  };

  create =
    name: guest:
    let
      inherit ((if guest.kind == "lxc" then container else machine) name guest) tool commands;
    in
    ''

      if ${tool} config ${toString guest.id} > /dev/null 2>&1; then
        echo "${name}: guest ${toString guest.id} exists and is left as it is"
      else
        ${lib.concatStringsSep "\n  " commands}
      fi
    '';
in
{
  "create-guests.sh" = ''
    #!/bin/sh
    # Creates the guests of ${config.barnabee.name}; run it as root on the Proxmox VE node:
    #   sh create-guests.sh DIRECTORY-OF-THE-IMAGES
    set -eu
    images=$(cd "''${1:-.}" && pwd)
  ''
  + lib.concatStrings (lib.mapAttrsToList create cfg.guests);

  "vfio.conf" = ''
    # /etc/modprobe.d/vfio.conf, then: update-initramfs -u -k all
    # Kernel command line: ${lib.concatStringsSep " " passthrough.kernelParams}
    options vfio-pci ids=${lib.concatStringsSep "," passthrough.ids}
    softdep nouveau pre: vfio-pci
    softdep nvidia pre: vfio-pci
    softdep snd_hda_intel pre: vfio-pci
  '';
}
