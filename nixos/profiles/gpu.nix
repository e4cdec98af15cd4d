# Host with the role gpu: inference on the GPU.
{ lib, pkgs, ... }:
{
  barnabee.gpu.enable = lib.mkDefault true;
  barnabee.package = lib.mkDefault pkgs.barnabee-cuda;
  barnabee.models = lib.mkDefault pkgs.barnabee-models-cuda;
  barnabee.fillers = lib.mkDefault null; # the voice service on core plays them
}
