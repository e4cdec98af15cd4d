# A machine that computes with the card.
{ lib, pkgs, ... }:
{
  barnabee.gpu.card = lib.mkDefault true;
  barnabee.package = lib.mkDefault pkgs.barnabee-cuda;
  barnabee.models = lib.mkDefault pkgs.barnabee-models-cuda;
  barnabee.fillers = lib.mkDefault null; # core plays them
}
