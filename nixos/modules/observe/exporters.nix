# What every machine says of itself.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (config.barnabee) name network;
  inherit (config.services.prometheus.exporters) node;
in
{
  config = lib.mkIf (config.barnabee.roles != [ ] && network.addresses ? ${name}) {
    services.prometheus.exporters.node = {
      enable = true;
      listenAddress = house.address;
      enabledCollectors = [ "systemd" ]; # units that failed, timers that did not run
    };
    barnabee.network.rules = [
      {
        inherit (node) port;
        from = house.graphs.hostsWith house.graph "monitoring";
      }
    ];
  };
}
