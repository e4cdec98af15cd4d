# Guests of a hypervisor: a microvm with the GPU, and nspawn containers. They are part of the host's
# generation, so one switch updates all and one rollback restores all.
#
# microvm.nix instead of libvirt: the VM's system is in the host's closure and its unit in the host's
# service graph; libvirt keeps domains and disks outside of generations. Core and monitoring are
# containers: no emulation, and /data is a directory of the host.
{
  config,
  inputs,
  lib,
  ...
}:
let
  cfg = config.barnabee.guests;
  inherit (config.barnabee) network;
  systemOf = name: inputs.self.nixosConfigurations.${name};
  guestsOfKind = kind: lib.filterAttrs (_: guest: guest.kind == kind) cfg;
in
{
  imports = [
    ./guest-forwarding.nix
    ./guest-network.nix
    ./guest-secrets.nix
  ];

  options.barnabee.guests = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule {
        options = {
          kind = lib.mkOption {
            type = lib.types.enum [
              "container"
              "vm"
            ];
            description = "A container shares the host's kernel; a VM can own a PCI device.";
            example = "vm";
          };
          directories = lib.mkOption {
            type = lib.types.attrsOf lib.types.str;
            default = { };
            description = "Host directories mounted into a container, by their path in the container.";
            example = {
              "/data" = "/srv/barnabee";
            };
          };
        };
      }
    );
    default = { };
    description = "Guests of this hypervisor, by the name of their host in the flake.";
    example = {
      barnabee-core.kind = "container";
    };
  };

  config = lib.mkIf (cfg != { }) {
    containers = lib.mapAttrs (name: guest: {
      autoStart = true;
      path = (systemOf name).config.system.build.toplevel;
      privateNetwork = true;
      hostBridge = config.barnabee.bridge;
      localAddress = "${network.addresses.${name}}/24";
      bindMounts = lib.mapAttrs (_: hostPath: {
        inherit hostPath;
        isReadOnly = false;
      }) guest.directories;
      timeoutStartSec = "5min";
    }) (guestsOfKind "container");

    microvm.vms = lib.mapAttrs (name: _: {
      evaluatedConfig = systemOf name;
      restartIfChanged = true;
    }) (guestsOfKind "vm");

    systemd.tmpfiles.rules = lib.concatMap (
      guest: map (path: "d ${path} 0755 root root -") (lib.attrValues guest.directories)
    ) (lib.attrValues cfg);

    assertions = [
      {
        assertion = guestsOfKind "vm" == { } || config.barnabee.passthrough.enable;
        message = "barnabee.guests has a VM for the GPU, but barnabee.passthrough.enable is off; turn it on.";
      }
    ];
  };
}
