# Bridge between a hypervisor and its guests, and their name resolution.
{ config, lib, ... }:
let
  inherit (config.barnabee)
    bridge
    bridgePorts
    guests
    name
    network
    ;
in
{
  options.barnabee = {
    bridge = lib.mkOption {
      type = lib.types.str;
      default = "br-barnabee";
      description = "Bridge between this hypervisor and its guests.";
      example = "br0";
    };
    bridgePorts = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = "Host interfaces that join the bridge, to reach the `barnabee.network.interface` of a standby.";
      example = [ "enp6s0" ];
    };
  };

  config = lib.mkIf (guests != { }) {
    networking = {
      useNetworkd = true;
      bridges.${bridge}.interfaces = bridgePorts;
      interfaces.${bridge}.ipv4.addresses = [
        {
          address = network.addresses.${name};
          prefixLength = 24;
        }
      ];
      firewall.interfaces.${bridge} = {
        allowedTCPPorts = [ 53 ];
        allowedUDPPorts = [ 53 ];
      };
    };

    # Guests use this host as DNS resolver.
    services.resolved = {
      enable = true;
      settings.Resolve.DNSStubListenerExtra = network.addresses.${name};
    };

    # The microvm's tap interface joins the bridge by its name.
    systemd.network.networks."30-barnabee-guests" = {
      matchConfig.Name = "vm-*";
      networkConfig.Bridge = bridge;
    };
    # The bridge has its address before the first guest starts.
    systemd.network.networks."40-${bridge}" = {
      networkConfig.ConfigureWithoutCarrier = true;
      linkConfig.RequiredForOnline = false;
    };

    assertions = [
      {
        assertion = config.barnabee.standby.enable -> bridgePorts != [ ];
        message = "barnabee.bridgePorts is empty, so a standby cannot reach the guests: name the interface that leads to it, or unset barnabee.standby.virtualIp.";
      }
    ];
  };
}
