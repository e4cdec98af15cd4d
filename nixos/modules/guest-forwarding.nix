# Way of the guests to the home network: address translation, and the ports that are forwarded to core.
{ config, lib, ... }:
let
  inherit (config.barnabee)
    bridge
    guests
    network
    uplink
    wyoming
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
  config = lib.mkIf (guests != { }) {
    networking.nat = lib.mkIf (uplink != null) {
      enable = true;
      internalInterfaces = [ bridge ];
      externalInterface = uplink;
      forwardPorts =
        map forwardTcp (
          # core's firewall lets in the clients alone
          network.public.tcp ++ lib.optional (wyoming.clients != [ ]) config.barnabee.system.wyoming.port
        )
        ++ map forwardUdp network.public.udp;
    };
    # Outgoing traffic of guests passes; incoming traffic only to the ports forwarded above.
    networking.firewall.filterForward = true;

    assertions = [
      {
        assertion = uplink != null;
        message = "barnabee.guests need a network uplink: set barnabee.uplink to the interface on the home network.";
      }
    ];
  };
}
