# All hosts of hosts/, each with the form (container, microvm) that its hypervisor needs.
# `evaluate` makes a system from modules.
{ lib, evaluate }:
let
  folder = ../../hosts;
  forms = {
    barnabee-gpu = ../profiles/form-microvm.nix;
    barnabee-core = ../profiles/form-container.nix;
    barnabee-monitoring = ../profiles/form-container.nix;
  };
  names = lib.attrNames (lib.filterAttrs (_: kind: kind == "directory") (builtins.readDir folder));
in
lib.genAttrs names (
  name:
  evaluate {
    ownPackages = forms.${name} or null == ../profiles/form-microvm.nix; # microvm.nix has an overlay
    modules = [
      (folder + "/${name}")
      (forms.${name} or { })
    ];
  }
)
