# The guests of a hypervisor, all of the same generation as the machine itself: one switch renews them
# together, one rollback takes them back together.
#
# The card's VM is a microvm (qemu, q35) and not libvirt's: its system is part of this machine's closure
# and its unit of this machine's graph, while libvirt keeps domains and disks outside of any generation.
# Core and monitoring share the kernel as nspawn containers: nothing to emulate, and /data stays a plain
# directory of the machine.
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
  kind = wanted: lib.filterAttrs (_: guest: guest.kind == wanted) cfg;
  # name:file of every secret that a guest uses and this machine has.
  secretsOf =
    name:
    map (secret: "${secret}:${config.barnabee.secrets.fileOf secret}") (
      lib.filter (secret: config.barnabee.secrets.fileOf secret != null) (
        (systemOf name).config.barnabee.secrets.used
      )
    );
  core = network.addresses.barnabee-core;
  forward = proto: port: {
    inherit proto;
    sourcePort = port;
    destination = "${core}:${toString port}";
  };
  ranges = map (range: {
    proto = "udp";
    sourcePort = "${toString range.from}:${toString range.to}";
    destination = "${core}:${toString range.from}-${toString range.to}";
  });
in
{
  options.barnabee = {
    guests = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule {
          options = {
            kind = lib.mkOption {
              type = lib.types.enum [
                "container"
                "vm"
              ];
              description = "A container shares the kernel; a VM can have a device of its own.";
              example = "vm";
            };
            directories = lib.mkOption {
              type = lib.types.attrsOf lib.types.str;
              default = { };
              description = "Directories of a container that are the machine's own, by their path inside.";
              example = {
                "/data" = "/srv/barnabee";
              };
            };
          };
        }
      );
      default = { };
      description = "The guests of this machine, by the name of their host in the flake.";
      example = {
        barnabee-core.kind = "container";
      };
    };
    bridgePorts = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = "Interfaces of the machine that join the bridge: the way to a stand-by's `barnabee.network.link`.";
      example = [ "enp6s0" ];
    };
    bridge = lib.mkOption {
      type = lib.types.str;
      default = "br-barnabee";
      description = "The bridge between this machine and its guests.";
      example = "br0";
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
      extraFlags = map (secret: "--load-credential=${secret}") (secretsOf name);
    }) (kind "container");

    microvm.vms = lib.mapAttrs (name: _: {
      evaluatedConfig = systemOf name;
      restartIfChanged = true;
    }) (kind "vm");

    # qemu reads them as its own unit's credentials and passes them on.
    systemd.services = lib.mapAttrs' (
      name: _:
      lib.nameValuePair "microvm@${name}" {
        overrideStrategy = "asDropin";
        serviceConfig.LoadCredential = secretsOf name;
      }
    ) (kind "vm");
    barnabee.secrets.needed = lib.concatMap (name: (systemOf name).config.barnabee.secrets.used) (
      lib.attrNames cfg
    );

    networking = {
      useNetworkd = true;
      bridges.${config.barnabee.bridge}.interfaces = config.barnabee.bridgePorts;
      interfaces.${config.barnabee.bridge}.ipv4.addresses = [
        {
          address = network.addresses.${config.barnabee.name};
          prefixLength = 24;
        }
      ];
      nat = lib.mkIf (config.barnabee.uplink != null) {
        enable = true;
        internalInterfaces = [ config.barnabee.bridge ];
        externalInterface = config.barnabee.uplink;
        forwardPorts = map (forward "tcp") network.public.tcp ++ ranges network.public.udp;
      };
      # nat lets guests out; from outside only what is forwarded above comes in.
      firewall.filterForward = true;
    };

    # Guests ask this machine for names.
    services.resolved = {
      enable = true;
      settings.Resolve.DNSStubListenerExtra = network.addresses.${config.barnabee.name};
    };
    networking.firewall.interfaces.${config.barnabee.bridge} = {
      allowedTCPPorts = [ 53 ];
      allowedUDPPorts = [ 53 ];
    };

    # The microvm's tap joins the bridge by its name.
    systemd.network.networks."30-barnabee-guests" = {
      matchConfig.Name = "vm-*";
      networkConfig.Bridge = config.barnabee.bridge;
    };
    # The bridge has its address before the first guest is there.
    systemd.network.networks."40-${config.barnabee.bridge}" = {
      networkConfig.ConfigureWithoutCarrier = true;
      linkConfig.RequiredForOnline = false;
    };

    systemd.tmpfiles.rules = lib.concatMap (
      guest: map (path: "d ${path} 0755 root root -") (lib.attrValues guest.directories)
    ) (lib.attrValues cfg);

    assertions = [
      {
        assertion = config.barnabee.uplink != null;
        message = "barnabee.guests need a way out: set barnabee.uplink to the interface towards the house's network.";
      }
      {
        assertion = config.barnabee.standby.enable -> config.barnabee.bridgePorts != [ ];
        message = "barnabee.bridgePorts is empty, so no stand-by reaches the guests: name the interface that leads to it, or unset barnabee.standby.address.";
      }
      {
        assertion = kind "vm" == { } || config.barnabee.passthrough.enable;
        message = "barnabee.guests has a VM for the card, but barnabee.passthrough.enable is off; turn it on.";
      }
    ];
  };
}
