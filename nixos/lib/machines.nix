# All hosts of hosts/. A guest has the form (container, microvm) that `beast` needs, and as `lxc` and `vm` those
# of a Proxmox node: barnabee-core.lxc. `evaluate` makes a system from modules.
{ lib, evaluate }:
let
  folder = ../../hosts;
  guests = {
    barnabee-gpu = ../profiles/form-microvm.nix;
    barnabee-core = ../profiles/form-container.nix;
    barnabee-monitoring = ../profiles/form-container.nix;
  };
  names = lib.attrNames (lib.filterAttrs (_: kind: kind == "directory") (builtins.readDir folder));
  system =
    name: form:
    evaluate {
      ownPackages = form == ../profiles/form-microvm.nix; # microvm.nix has an overlay
      modules = [
        (folder + "/${name}")
        form
      ];
    };
in
lib.genAttrs names (
  name:
  system name (guests.${name} or { })
  // lib.optionalAttrs (guests ? ${name}) {
    lxc = system name ../profiles/form-lxc.nix;
    vm = system name ../profiles/form-vm.nix;
  }
)
