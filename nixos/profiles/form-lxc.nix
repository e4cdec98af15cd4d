# Guest as a Proxmox container: the node sets its address. Inference runs on the CPU, because the driver of
# a GPU would have to be the node's.
{ inputs, pkgs, ... }:
{
  imports = [
    inputs.nixos-generators.nixosModules.proxmox-lxc
    ./form-image.nix
  ];
  proxmoxLXC.manageHostName = true; # the name selects the roles
  barnabee = {
    gpu.enable = false;
    package = pkgs.barnabee;
    models = pkgs.barnabee-models-cpu;
  };
}
