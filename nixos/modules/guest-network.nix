# Network of the guests: bridge, address translation, forwarded ports, name resolution.
{ config, lib, ... }:
let
  inherit (config.barnabee)
    bridge
    bridgePorts
    guests
    name
    network
    uplink
    ;
  core = network.addresses.barnabee-core;
  forwardTcp = port: {
    proto = "tcp";
    sourcePort = port;
    destination = "${core}:${toString port}";
  };
  forwardUdp = range: {
    proto = "udp";
    sourcePort = "${toString range.from}:${toString range.to}";
    destination = "${core}:${toString range.from}-${toString range.to}";
  };
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
      nat = lib.mkIf (uplink != null) {
        enable = true;
        internalInterfaces = [ bridge ];
        externalInterface = uplink;
        forwardPorts = map forwardTcp network.public.tcp ++ map forwardUdp network.public.udp;
      };
      # Outgoing traffic of guests passes; incoming traffic only to the ports forwarded above.
      firewall.filterForward = true;
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
        assertion = uplink != null;
        message = "barnabee.guests need a network uplink: set barnabee.uplink to the interface on the home network.";
      }
      {
        assertion = config.barnabee.standby.enable -> bridgePorts != [ ];
        message = "barnabee.bridgePorts is empty, so a standby cannot reach the guests: name the interface that leads to it, or unset barnabee.standby.virtualIp.";
      }
    ];
  };
}
