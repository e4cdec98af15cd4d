# Images: each service for Docker (oci.nix); each guest for Proxmox as an LXC template, a VM image and a
# UEFI disk, from the same hosts/ as the guests of `beast`.
{
  evaluate,
  inputs,
  lib,
  pkgs,
  system,
}:
let
  guests = [
    "barnabee-core"
    "barnabee-gpu"
    "barnabee-monitoring"
  ];
  formats = {
    lxc = "proxmox-lxc";
    vm = "proxmox";
    qcow = "qcow-efi";
  };
  image =
    name: format:
    inputs.nixos-generators.nixosGenerate {
      inherit system format;
      nixosSystem = { modules, ... }: evaluate { inherit modules; };
      modules = [
        ../../hosts/${name}
        ../../nixos/profiles/form-image.nix
        # Both Proxmox formats reset the host name, which selects the roles.
        { networking.hostName = lib.mkOverride 40 name; }
      ];
    };
  oci = import ./oci.nix {
    inherit lib pkgs;
    core = inputs.self.nixosConfigurations.barnabee-core;
  };
in
oci.images
// {
  oci-nginx-conf = oci.nginx;
}
// lib.listToAttrs (
  lib.concatMap (
    name:
    lib.mapAttrsToList (kind: format: {
      name = "image-${name}-${kind}";
      value = image name format;
    }) formats
  ) guests
)
