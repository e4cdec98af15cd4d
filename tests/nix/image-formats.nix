# Modules of nixos-generators, of which those of nixpkgs do the work; the disk is an empty folder. Used by
# evaluate.nix.
{
  lib,
  nixpkgs,
  pkgs,
}:
let
  format = formatAttr: fileExtension: {
    options.formatAttr = lib.mkOption { default = formatAttr; };
    options.fileExtension = lib.mkOption { default = fileExtension; };
    config.system.build.${formatAttr} = lib.mkDefault pkgs.emptyDirectory;
  };
in
{
  proxmox-lxc.imports = [
    (format "tarball" ".tar.xz")
    (nixpkgs + "/nixos/modules/virtualisation/proxmox-lxc.nix")
  ];
  qcow-efi = format "qcow-efi" ".qcow2";
}
