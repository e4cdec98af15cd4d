# Images: each service for Docker (oci.nix); each guest for a Proxmox node, as a container's template and as
# the disk of a VM. `machines` are the flake's hosts.
{
  lib,
  machines,
  pkgs,
}:
let
  oci = import ./oci.nix {
    inherit lib pkgs;
    core = machines.barnabee-core;
  };
  imagesOf = name: host: {
    "image-${name}-lxc" = host.lxc.config.system.build.guestImage;
    "image-${name}-vm" = host.vm.config.system.build.guestImage;
  };
in
oci.images
// {
  oci-nginx-conf = oci.nginx;
}
// lib.concatMapAttrs imagesOf (lib.filterAttrs (_: host: host ? lxc) machines)
