# Wyoming service: speech and commands for Home Assistant. The protocol has no authentication: the port is open
# to the named hosts alone.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (config.barnabee.wyoming) clients;
  isShared = clients != [ ];
in
{
  options.barnabee.wyoming.clients = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    default = [ ];
    description = "Hosts of `barnabee.network.addresses` that may use the Wyoming server, such as Home Assistant's.";
    example = [ "home-assistant" ];
  };

  config = lib.mkIf (barnabeeLib.runsService "wyoming") {
    systemd.services.barnabee-wyoming = lib.mkMerge [
      (barnabeeLib.mkService "wyoming" {
        outbound = isShared; # its announcement is multicast
        serviceConfig.RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_NETLINK" # the machine's addresses, for the announcement
          "AF_UNIX"
        ];
      })
      (lib.mkIf isShared { environment.BARNABEE_WYOMING_BIND = barnabeeLib.hostAddress; })
    ];
    barnabee.network.rules = lib.optional isShared {
      inherit (barnabeeLib.graph.wyoming) port;
      from = clients;
    };
  };
}
